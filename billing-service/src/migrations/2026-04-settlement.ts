// What an entry of the ledger moves, in the ledger's own transaction: the sums of its day, the
// accounts of who pays, and what was reserved for its request.
import { type Kysely, sql } from 'kysely'
import { plans } from './2026-04-reservations.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  // What settling needs of a new entry of the ledger.
  await sql`
    create type usage_entry as (
      request_id text collate "C",
      status text,
      occurred_at timestamptz,
      amount numeric,
      prompt_tokens bigint,
      completion_tokens bigint,
      key_id text collate "C",
      user_id text collate "C",
      team_id text collate "C",
      tags text[],
      model_group text collate "C",
      provider text collate "C",
      model text collate "C"
    )`.execute(db)
  await sql`
    create function payers_of(key_id text, user_id text, team_id text)
    returns table (kind text, owner text) language sql immutable as $$
      select p.kind, p.owner from (values ('key', key_id), ('team', team_id), ('user', user_id),
        ('member', team_id || '/' || user_id)) as p(kind, owner)
      where p.owner is not null
    $$`.execute(db)

  // The days come before the accounts: those are what reservations wait for.
  await sql`
    create function count_days(entries usage_entry[]) returns void language plpgsql as $$
    begin
      insert into daily_spend as d (day, key_id, user_id, team_id, model_group, provider, model,
        amount, prompt_tokens, completion_tokens, requests, failures)
      select (e.occurred_at at time zone 'UTC')::date, coalesce(e.key_id, ''),
        coalesce(e.user_id, ''), coalesce(e.team_id, ''), e.model_group, e.provider, e.model,
        sum(e.amount), sum(e.prompt_tokens), sum(e.completion_tokens),
        count(*) filter (where e.status <> 'correction'),
        count(*) filter (where e.status in ('failure', 'interrupted'))
      from unnest(entries) e
      group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7
      on conflict (day, key_id, user_id, team_id, model_group, provider, model) do update set
        amount = d.amount + excluded.amount,
        prompt_tokens = d.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = d.completion_tokens + excluded.completion_tokens,
        requests = d.requests + excluded.requests, failures = d.failures + excluded.failures;

      insert into daily_tag_spend as d (day, tag, key_id,
        amount, prompt_tokens, completion_tokens, requests, failures)
      select (e.occurred_at at time zone 'UTC')::date, t.tag collate "C", coalesce(e.key_id, ''),
        sum(e.amount), sum(e.prompt_tokens), sum(e.completion_tokens),
        count(*) filter (where e.status <> 'correction'),
        count(*) filter (where e.status in ('failure', 'interrupted'))
      from unnest(entries) e cross join lateral (select distinct tag from unnest(e.tags) as tag) t
      group by 1, 2, 3 order by 1, 2, 3
      on conflict (day, tag, key_id) do update set
        amount = d.amount + excluded.amount,
        prompt_tokens = d.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = d.completion_tokens + excluded.completion_tokens,
        requests = d.requests + excluded.requests, failures = d.failures + excluded.failures;
    end $$`.execute(db)

  // entries: new in the ledger, in this very transaction. releases: [{requestId, within}] (contracts/
  // budget.ts). @returns the accounts that crossed their soft limit just now.
  await sql`
    create function settle_usage(entries usage_entry[], releases jsonb, at timestamptz)
    returns jsonb language plpgsql ${plans} as $$
    declare
      requests text[];
      crossed jsonb;
    begin
      perform count_days(entries);
      insert into account (kind, owner)
      select distinct p.kind, p.owner
      from unnest(entries) e cross join lateral payers_of(e.key_id, e.user_id, e.team_id) p
      order by 1, 2
      on conflict do nothing;

      requests := array(select e.request_id from unnest(entries) e)
        || array(select r.value ->> 'requestId' from jsonb_array_elements(releases) r);
      perform lock_accounts(
        array(
          select row(p.kind, p.owner, m.model)::account_key
          from (select distinct key_id, user_id, team_id, model_group from unnest(entries)) e
          cross join lateral payers_of(e.key_id, e.user_id, e.team_id) p
          cross join lateral (values (''), (e.model_group)) as m(model)
        ) || array(
          select row(r.kind, r.owner, r.model)::account_key from reservation r
          where r.request_id = any(requests)
        ), at);

      with spent as (
        select a.kind, a.owner, a.model, sum(e.amount) as amount,
          sum(e.prompt_tokens + e.completion_tokens) as tokens,
          coalesce(sum(e.amount) filter (where e.occurred_at >= a.period_start), 0)
            as period_amount,
          coalesce(sum(e.prompt_tokens + e.completion_tokens)
            filter (where e.occurred_at >= a.period_start), 0) as period_tokens
        from unnest(entries) e
        cross join lateral payers_of(e.key_id, e.user_id, e.team_id) p
        join account a
          on a.kind = p.kind and a.owner = p.owner and a.model in ('', e.model_group)
        group by a.kind, a.owner, a.model
      ), settled as (
        select request_id, bool_or(ends) as ends, sum(amount) as amount, sum(tokens) as tokens
        from (
          select e.request_id, e.status in ('success', 'cancelled') as ends, e.amount,
            e.prompt_tokens + e.completion_tokens as tokens
          from unnest(entries) e where e.status <> 'correction'
          union all
          select r.value ->> 'requestId', true, 0, 0
          from jsonb_array_elements(releases) r where (r.value ->> 'within')::bigint = 0
        ) as known group by request_id
      ), freed as (
        select r.request_id, r.kind, r.owner, r.model, s.ends,
          case when s.ends then r.amount else least(r.amount, s.amount) end as amount,
          case when s.ends then r.tokens else least(r.tokens, s.tokens) end as tokens
        from reservation r join settled s on s.request_id = r.request_id
      ), removed as (
        delete from reservation r using freed f
        where f.ends and r.request_id = f.request_id
          and r.kind = f.kind and r.owner = f.owner and r.model = f.model
      ), reduced as (
        update reservation r set amount = r.amount - f.amount, tokens = r.tokens - f.tokens
        from freed f
        where not f.ends and r.request_id = f.request_id
          and r.kind = f.kind and r.owner = f.owner and r.model = f.model
      ), changes as (
        select kind, owner, model, sum(amount) as amount, sum(tokens) as tokens,
          sum(period_amount) as period_amount, sum(period_tokens) as period_tokens,
          sum(freed_amount) as freed_amount, sum(freed_tokens) as freed_tokens
        from (
          select kind, owner, model, amount, tokens, period_amount, period_tokens,
            0 as freed_amount, 0 as freed_tokens from spent
          union all
          select kind, owner, model, 0, 0, 0, 0, amount, tokens from freed
        ) as one group by kind, owner, model
      )
      update account a set total_amount = a.total_amount + c.amount,
        total_tokens = a.total_tokens + c.tokens,
        period_amount = a.period_amount + c.period_amount,
        period_tokens = a.period_tokens + c.period_tokens,
        reserved_amount = greatest(0, a.reserved_amount - c.freed_amount),
        reserved_tokens = greatest(0, a.reserved_tokens - c.freed_tokens)
      from changes c
      where a.kind = c.kind and a.owner = c.owner and a.model = c.model;

      update reservation r set expires_at = at + f.within * interval '1 millisecond'
      from (
        select value ->> 'requestId' as request_id, (value ->> 'within')::bigint as within
        from jsonb_array_elements(releases)
      ) f
      where r.request_id = f.request_id and r.expires_at > at + f.within * interval '1 millisecond';

      with over as (
        update account a set soft_notified_at = at
        from (
          select distinct p.kind, p.owner
          from unnest(entries) e cross join lateral payers_of(e.key_id, e.user_id, e.team_id) p
        ) p
        where a.kind = p.kind and a.owner = p.owner
          and a.period_amount >= a.soft_amount and a.soft_notified_at is null
        returning a.kind, a.owner, a.model, a.period_amount, a.soft_amount
      )
      select jsonb_agg(jsonb_build_object('kind', kind, 'owner', owner, 'model', model,
        'spent', period_amount::text, 'soft', soft_amount::text))
      into crossed from over;
      return coalesce(crossed, '[]');
    end $$`.execute(db)
}

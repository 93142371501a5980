// Reservations, decided where the accounts are: one call handles many questions, and what it
// compares cannot change under it. Every function locks accounts in the order of their keys.
import { type Kysely, sql } from 'kysely'

/**
 * For the functions that others call, and so for all below them: plans that are made once and go by the
 * indexes. What the statistics say of a table that was just made, or of a queue that was empty, is
 * wrong an hour later.
 */
export const plans = sql.raw('set plan_cache_mode = force_generic_plan set enable_seqscan = off')

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create type account_key as (
      kind text,
      owner text collate "C",
      model text collate "C"
    )`.execute(db)

  // Locks those that exist; a budget whose period is over begins the next one.
  await sql`
    create function lock_accounts(wanted account_key[], at timestamptz) returns void
    language plpgsql as $$
    declare
      locked account;
      begins timestamptz;
    begin
      -- Whoever holds the table to add an account waits for row locks next: not for ours.
      lock table account in row exclusive mode;
      for locked in
        select a.* from account a
        where (a.kind, a.owner, a.model) in (select k.kind, k.owner, k.model from unnest(wanted) k)
        order by a.kind, a.owner, a.model
        for no key update
      loop
        if locked.resets_at <= at then
          begins := greatest(locked.resets_at,
            budget_period_at(locked.period, locked.period_start, at, locked.zone));
          update account a set period_start = begins,
            resets_at = budget_period_end(locked.period, begins, locked.zone),
            period_amount = 0, period_tokens = 0, soft_notified_at = null
          where a.kind = locked.kind and a.owner = locked.owner and a.model = locked.model;
        end if;
      end loop;
    end $$`.execute(db)

  // The account is locked. @returns how many leases had expired
  await sql`
    create function free_expired(holder account, at timestamptz) returns bigint
    language plpgsql as $$
    declare
      freed record;
    begin
      with gone as (
        delete from reservation r
        where r.kind = holder.kind and r.owner = holder.owner and r.model = holder.model
          and r.expires_at <= at
        returning r.amount, r.tokens
      )
      select count(*) as leases, coalesce(sum(amount), 0) as amount,
        coalesce(sum(tokens), 0) as tokens
      into freed from gone;
      if freed.leases > 0 then
        update account a set reserved_amount = greatest(0, a.reserved_amount - freed.amount),
          reserved_tokens = greatest(0, a.reserved_tokens - freed.tokens)
        where a.kind = holder.kind and a.owner = holder.owner and a.model = holder.model;
      end if;
      return freed.leases;
    end $$`.execute(db)

  // contracts/budget.ts: standing. own…: what the asking request holds already.
  await sql`
    create function standing_of(a account, own_amount numeric, own_tokens bigint) returns jsonb
    language sql stable as $$
      select jsonb_build_object('kind', a.kind, 'owner', a.owner, 'model', a.model,
        'spent', greatest(a.period_amount, 0)::text,
        'reserved', greatest(a.reserved_amount - own_amount, 0)::text,
        'limit', a.max_amount::text,
        'tokensSpent', greatest(a.period_tokens, 0),
        'tokensReserved', greatest(a.reserved_tokens - own_tokens, 0),
        'tokensLimit', a.max_tokens,
        'resetsAt', floor(extract(epoch from a.resets_at) * 1000)::bigint)
    $$`.execute(db)

  // One question; its accounts are locked. All of them pay, or none. Expired leases do not count:
  // before an account refuses they are freed, and it is asked again. What the request holds already
  // is not asked for a second time. (has_lent: 2026-07-allowances.ts)
  await sql`
    create function reserve_budget(
      request text, wanted account_key[], needed numeric, needed_tokens bigint,
      lease timestamptz, at timestamptz
    ) returns jsonb language plpgsql as $$
    declare
      found record;
    begin
      loop
        with own as materialized (
          select r.kind, r.owner, r.model, r.amount, r.tokens from reservation r
          where r.request_id = request
        ), paying as materialized (
          select a.kind, a.owner, a.model, a as account, o.amount as own, o.tokens as own_tokens,
            case when o.kind is not null then null
              when a.period_amount + a.reserved_amount + needed > a.max_amount then 'money'
              when a.period_tokens + a.reserved_tokens + needed_tokens > a.max_tokens then 'tokens'
            end as exceeded
          from unnest(wanted) k
          join account a on a.kind = k.kind and a.owner = k.owner and a.model = k.model
          left join own o on o.kind = k.kind and o.owner = k.owner and o.model = k.model
        ), refusing as (
          select account, exceeded from paying where exceeded is not null
          order by kind, owner, model limit 1
        ), held as (
          insert into reservation (request_id, kind, owner, model, amount, tokens, expires_at)
          select request, kind, owner, model, needed, needed_tokens, lease from paying
          where own is null and not exists (select from refusing)
          on conflict do nothing
          returning kind, owner, model
        ), grown as (
          update account a set reserved_amount = a.reserved_amount + needed,
            reserved_tokens = a.reserved_tokens + needed_tokens
          from held h where a.kind = h.kind and a.owner = h.owner and a.model = h.model
        )
        select (select account from refusing) as refusing, (select exceeded from refusing) as exceeded,
          bool_or(own is not null) as again,
          jsonb_agg(standing_of(account, coalesce(own, 0), coalesce(own_tokens, 0))) as standings
        into found from paying;

        if found.exceeded is null then
          if found.again then
            update reservation set expires_at = lease
            where request_id = request and expires_at < lease;
          end if;
          return jsonb_build_object('granted', true, 'accounts', coalesce(found.standings, '[]'));
        end if;
        if free_expired(found.refusing, at) = 0 then
          return jsonb_build_object('granted', false, 'exceeded', found.exceeded,
            'by', standing_of(found.refusing, 0, 0), 'lent', has_lent(found.refusing, at));
        end if;
      end loop;
    end $$`.execute(db)

  // What nearly all ask: a single account that can pay, of which the request holds nothing yet. One
  // statement in half the time, which is what such a request waits for. The row is locked before the
  // reservation is made, so that the same question asked twice at once meets what the first one did.
  // @returns how the account stands without it (standing); null: nothing was done, and
  // reserve_budgets has to say why
  await sql`
    create function reserve_alone(
      request text, payer_kind text, payer_owner text, payer_model text,
      needed numeric, needed_tokens bigint, lease timestamptz, at timestamptz
    ) returns jsonb language plpgsql ${plans} as $$
    declare
      standing jsonb;
    begin
      with paying as materialized (
        select a.kind, a.owner, a.model from account a
        where a.kind = payer_kind and a.owner = payer_owner and a.model = payer_model
          and (a.resets_at <= at) is not true
          and (a.period_amount + a.reserved_amount + needed > a.max_amount) is not true
          and (a.period_tokens + a.reserved_tokens + needed_tokens > a.max_tokens) is not true
        for no key update
      ), held as (
        insert into reservation (request_id, kind, owner, model, amount, tokens, expires_at)
        select request, p.kind, p.owner, p.model, needed, needed_tokens, lease from paying p
        on conflict do nothing
        returning kind, owner, model
      )
      update account a set reserved_amount = a.reserved_amount + needed,
        reserved_tokens = a.reserved_tokens + needed_tokens
      from held h where a.kind = h.kind and a.owner = h.owner and a.model = h.model
      returning standing_of(a, needed, needed_tokens) into standing;
      return standing;
    end $$`.execute(db)

  // questions: contracts/budget.ts, a list of reserveQuestion. One answer each, in their order.
  await sql`
    create function reserve_budgets(questions jsonb, at timestamptz) returns setof jsonb
    language plpgsql ${plans} as $$
    declare
      question record;
    begin
      perform lock_accounts(array(
        select row(a.kind, a.owner, a.model)::account_key
        from jsonb_array_elements(questions) q,
          jsonb_to_recordset(q -> 'accounts') as a(kind text, owner text, model text)), at);
      for question in
        select q ->> 'requestId' as request,
          array(select row(a.kind, a.owner, a.model)::account_key
            from jsonb_to_recordset(q -> 'accounts') as a(kind text, owner text, model text)
          ) as wanted,
          (q ->> 'amount')::numeric as amount, (q ->> 'tokens')::bigint as tokens,
          to_timestamp((q ->> 'expiresAt')::double precision / 1000) as lease
        from jsonb_array_elements(questions) with ordinality as asked(q, place) order by place
      loop
        return next reserve_budget(question.request, question.wanted, question.amount,
          question.tokens, question.lease, at);
      end loop;
    end $$`.execute(db)

  // Frees at most so many expired leases, and counts anew what their accounts hold.
  await sql`
    create function sweep_reservations(at timestamptz, most integer) returns bigint
    language plpgsql ${plans} as $$
    declare
      holders account_key[];
      freed bigint;
    begin
      select array_agg(row(kind, owner, model)::account_key) into holders from (
        select distinct kind, owner, model from (
          select kind, owner, model from reservation where expires_at <= at
          order by expires_at limit most
        ) as expired
      ) as held;
      if holders is null then return 0; end if;
      perform lock_accounts(holders, at);
      delete from reservation r using unnest(holders) k
      where r.kind = k.kind and r.owner = k.owner and r.model = k.model and r.expires_at <= at;
      get diagnostics freed = row_count;
      update account a set reserved_amount = held.amount, reserved_tokens = held.tokens
      from unnest(holders) k cross join lateral (
        select coalesce(sum(r.amount), 0) as amount, coalesce(sum(r.tokens), 0) as tokens
        from reservation r where r.kind = k.kind and r.owner = k.owner and r.model = k.model
      ) as held
      where a.kind = k.kind and a.owner = k.owner and a.model = k.model;
      return freed;
    end $$`.execute(db)
}

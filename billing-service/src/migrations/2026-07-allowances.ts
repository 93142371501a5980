// Allowances: what a gateway may grant of an account without asking first. One is a reservation that no
// request made, so whatever counts or checks reservations counts and checks it too. It has no end of its
// own: it is held as long as its gateway is heard of.
import { type Kysely, sql } from 'kysely'
import { plans } from './2026-04-reservations.ts'

/**
 * A gateway says every few seconds that it is there, and grants nothing when billing was not heard of for
 * the first of these (gateway/src/admission/allowance-book.ts). From then on nothing can be called back from
 * it; when the second is over it is taken for dead.
 */
const silence = sql.raw(`interval '10 seconds'`)
const lease = sql.raw(`interval '20 seconds'`)
/** One gateway holds at most this part of what an account has left: others have to find something, too. */
const part = sql.raw('4')

export async function up(db: Kysely<unknown>): Promise<void> {
  // The gateways, and the highest number of a message of each that was handled. One whose allowances
  // were freed is no more, even if it only seemed dead: it goes on under another name.
  await sql`
    create table allowance_holder (
      holder text collate "C" primary key,
      heard bigint not null,
      heard_at timestamptz(3) not null,
      ended boolean not null default false
    ) with (fillfactor = 60)`.execute(db)

  // Whether a gateway that is there has an allowance of it: a part of what is reserved that can be called
  // back.
  await sql`
    create function has_lent(a account, at timestamptz) returns boolean language sql stable as $$
      select exists (
        select from reservation r
        join allowance_holder h on h.holder = substr(r.request_id, length('allowance/') + 1)
        where r.kind = a.kind and r.owner = a.owner and r.model = a.model
          and r.request_id >= 'allowance/' and r.request_id < 'allowance0'
          and h.heard_at > at - ${silence}
      )
    $$`.execute(db)

  // contracts/budget.ts: allowanceQuestion, and an element of allowanceReply for each account, or
  // {"ended": true} alone.
  // What was granted becomes the reservation of its request, at the allowance's expense: the account
  // holds as much as before. A request whose usage was quicker than this has none any more, and what
  // an allowance that expired meanwhile does not have is reserved all the same: it is being spent.
  // Every look-up goes by an index: a plan that was made while the tables were empty would read all of
  // them by hashing, with accounts locked.
  await sql`
    create function draw_allowances(
      holder text, number bigint, answered bigint, draws jsonb, wishes jsonb, at timestamptz
    ) returns setof jsonb language plpgsql ${plans}
    set enable_hashjoin = off set enable_mergejoin = off as $$
    declare
      allowance text := 'allowance/' || holder;
      known allowance_holder;
    begin
      if answered = 0 then
        insert into allowance_holder values (draw_allowances.holder, 0, at) on conflict do nothing;
      end if;
      select * into known from allowance_holder h where h.holder = draw_allowances.holder for update;
      -- Of one that was forgotten, or that a database lost as it was restored, the answers do not hold.
      if known.ended is not false or known.heard < answered then
        return query select '{"ended": true}'::jsonb;
        return;
      end if;
      -- Told once more meanwhile, under a higher number: done late it would reserve for what is over.
      if known.heard >= number then return; end if;
      update allowance_holder h set heard = number, heard_at = at
      where h.holder = draw_allowances.holder;

      -- And what its owner spends in all, which a settlement of the same request always locks: either
      -- this sees its entry of the ledger, or it sees this reservation.
      perform lock_accounts(
        array(
          select row(k.kind, k.owner, m.model)::account_key
          from jsonb_array_elements(draws) q,
            jsonb_to_recordset(q -> 'accounts') as k(kind text, owner text, model text),
            unnest(array['', k.model]) as m(model)
        ) || array(
          select row(w.kind, w.owner, w.model)::account_key
          from jsonb_to_recordset(wishes) as w(kind text, owner text, model text)
        ), at);

      return query
      with asked as materialized (
        select q ->> 'requestId' as request_id, q -> 'accounts' as accounts,
          (q ->> 'amount')::numeric as amount, (q ->> 'tokens')::bigint as tokens,
          to_timestamp((q ->> 'expiresAt')::double precision / 1000) as expires_at,
          (q ->> 'since')::bigint <= known.heard as was_drawn,
          coalesce((
            select true from ledger l where l.kind = 'usage' and l.request_id = q ->> 'requestId'
              and l.status in ('success', 'cancelled') limit 1
          ), false) as has_ended
        from jsonb_array_elements(draws) q
      ), drawn as materialized (
        -- What was done already, and only not heard to be, may be settled or released by now.
        select a.kind, a.owner, a.model, q.request_id, q.amount, q.tokens, q.expires_at,
          q.has_ended, q.was_drawn
        from asked q
        cross join lateral jsonb_to_recordset(q.accounts)
          as k(kind text, owner text collate "C", model text collate "C")
        join account a on a.kind = k.kind and a.owner = k.owner and a.model = k.model
      ), held as (
        insert into reservation (request_id, kind, owner, model, amount, tokens, expires_at)
        select request_id, kind, owner, model, amount, tokens, expires_at
        from drawn where not has_ended and not was_drawn
        on conflict do nothing
        returning kind, owner, model, amount, tokens
      ), taken as (
        select kind, owner, model, sum(amount) as amount, sum(tokens) as tokens,
          sum(held) as held, sum(held_tokens) as held_tokens
        from (
          select kind, owner, model, amount, tokens, amount as held, tokens as held_tokens from held
          union all
          select kind, owner, model, amount, tokens, 0, 0 from drawn
          where has_ended and not was_drawn
        ) as one group by kind, owner, model
      ), wished as materialized (
        select * from jsonb_to_recordset(wishes) as w(kind text, owner text collate "C",
          model text collate "C", amount numeric, tokens bigint, requests bigint)
      ), before as materialized (
        -- had: the allowance before. rest: after these draws. held: reserved for requests by them.
        -- request_id: the allowance's, as a column, so that one of thousands is found by its whole key.
        select a as account, a.kind, a.owner, a.model, allowance as request_id,
          coalesce(r.amount, 0) as had, coalesce(r.tokens, 0) as had_tokens,
          greatest(0, coalesce(r.amount, 0) - coalesce(t.amount, 0)) as rest,
          greatest(0, coalesce(r.tokens, 0) - coalesce(t.tokens, 0)) as rest_tokens,
          coalesce(t.held, 0) as held, coalesce(t.held_tokens, 0) as held_tokens,
          w.amount as one, w.tokens as one_tokens, w.requests
        from (select kind, owner, model from drawn union select kind, owner, model from wished) k
        join account a on a.kind = k.kind and a.owner = k.owner and a.model = k.model
        left join reservation r on r.kind = a.kind and r.owner = a.owner and r.model = a.model
          and r.request_id = allowance
        left join taken t on t.kind = a.kind and t.owner = a.owner and t.model = a.model
        left join wished w on w.kind = a.kind and w.owner = a.owner and w.model = a.model
      ), roomy as materialized (
        -- What nobody has yet; null: without a limit.
        select *, (account).max_amount - (account).period_amount - (account).reserved_amount
            + had - rest - held as free,
          (account).max_tokens - (account).period_tokens - (account).reserved_tokens
            + had_tokens - rest_tokens - held_tokens as free_tokens
        from before
      ), possible as materialized (
        -- For so many requests like the wished one; null: nothing was wished.
        select *, case when requests is not null then greatest(0, floor(least(requests,
            free / nullif(${part} * one, 0), free_tokens / nullif(${part} * one_tokens, 0)
          ))) end as lent
        from roomy
      ), after as materialized (
        -- amount, tokens: the allowance from now on.
        select account, kind, owner, model, request_id, had, had_tokens, held, held_tokens,
          case requests when 0 then 0 else greatest(rest, lent * one) end as amount,
          case requests when 0 then 0 else greatest(rest_tokens, (lent * one_tokens)::bigint) end
            as tokens
        from possible
      ), kept as (
        insert into reservation as r (request_id, kind, owner, model, amount, tokens, expires_at)
        select allowance, kind, owner, model, amount, tokens, 'infinity' from after
        where (amount > 0 or tokens > 0) and (amount <> had or tokens <> had_tokens)
        on conflict (kind, owner, model, request_id) do update
        set amount = excluded.amount, tokens = excluded.tokens
      ), gone as (
        delete from reservation r using after f
        where f.amount = 0 and f.tokens = 0 and r.request_id = f.request_id
          and r.kind = f.kind and r.owner = f.owner and r.model = f.model
      ), moved as (
        update account a set reserved_amount = a.reserved_amount + f.held + f.amount - f.had,
          reserved_tokens = a.reserved_tokens + f.held_tokens + f.tokens - f.had_tokens
        from after f
        where a.kind = f.kind and a.owner = f.owner and a.model = f.model
          and (f.held + f.amount <> f.had or f.held_tokens + f.tokens <> f.had_tokens)
      )
      select standing_of(account, had - held - amount, (had_tokens - held_tokens - tokens)::bigint)
        || jsonb_build_object('allowance',
          jsonb_build_object('amount', amount::text, 'tokens', tokens))
      from after;
    end $$`.execute(db)

  // Frees what one gateway holds of which nobody heard for a lease, so many allowances at most: whoever
  // asks for those accounts waits for it. The gateway is not heard meanwhile: either it was before, and
  // keeps what it holds, or it is told afterwards that it does not.
  // @returns how many allowances; null: no gateway is left to be freed
  await sql`
    create function free_allowances(at timestamptz, most integer) returns bigint
    language plpgsql ${plans} as $$
    declare
      gone text;
      holders account_key[];
      freed bigint;
    begin
      -- One that was begun with comes first.
      select 'allowance/' || o.holder into gone from allowance_holder o
      where o.ended and exists (
        select from reservation r where r.request_id = 'allowance/' || o.holder
      ) limit 1 for update skip locked;
      if gone is null then
        update allowance_holder h set ended = true
        where h.holder = (
          select o.holder from allowance_holder o where not o.ended and o.heard_at <= at - ${lease}
          order by o.heard_at limit 1 for update skip locked
        )
        returning 'allowance/' || h.holder into gone;
      end if;
      if gone is null then return null; end if;
      holders := array(
        select row(r.kind, r.owner, r.model)::account_key from reservation r
        where r.request_id = gone limit most
      );
      perform lock_accounts(holders, at);
      with back as (
        delete from reservation r using (select k.*, gone as request_id from unnest(holders) k offset 0) k
        where r.kind = k.kind and r.owner = k.owner and r.model = k.model
          and r.request_id = k.request_id
        returning r.kind, r.owner, r.model, r.amount, r.tokens
      ), less as (
        update account a set reserved_amount = greatest(0, a.reserved_amount - f.amount),
          reserved_tokens = greatest(0, a.reserved_tokens - f.tokens)
        from back f where a.kind = f.kind and a.owner = f.owner and a.model = f.model
      )
      select count(*) into freed from back;
      return freed;
    end $$`.execute(db)
}

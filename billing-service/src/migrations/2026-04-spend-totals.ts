// Totals that move with the ledger, in its own transaction; the same sums as views of the ledger, to
// hold the totals against; and the totals of what the ledger held before there were any.
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // status: a failure counts as one for as long as the ledger stands, longer than its request's row.
  // reason: why there is a correction.
  await sql`
    alter table ledger
      add column status text,
      add column reason text,
      add constraint ledger_reason check (kind <> 'correction' or reason is not null)
    `.execute(db)
  await sql`alter table ledger disable trigger ledger_is_immutable`.execute(db)
  await sql`
    update ledger set status = coalesce((
      select r.status from request_log r
      where r.request_id = ledger.request_id and r.attempt = ledger.attempt limit 1), 'success')
    `.execute(db)
  await sql`alter table ledger enable trigger ledger_is_immutable`.execute(db)
  await sql`alter table ledger alter column status set not null`.execute(db)
  await sql`alter table ledger add constraint ledger_status check (status in
    ('success', 'failure', 'cancelled', 'interrupted', 'correction'))`.execute(db)

  await views(db)
  await seed(db)
}

/** What the totals must be. A new total needs its view: the rebuild compares them by name. */
async function views(db: Kysely<unknown>): Promise<void> {
  // Entries of one payer and model are added up first: few rows are left to be told apart by payers.
  // Only for accounts with a period it takes a look at the single entries.
  await sql`
    create view ledger_account as
    with spent as (
      select key_id, user_id, team_id, model_group, sum(amount) as amount,
        sum(prompt_tokens + completion_tokens) as tokens
      from ledger group by 1, 2, 3, 4
    ), total as (
      select p.kind, p.owner collate "C" as owner, m.model collate "C" as model,
        sum(s.amount) as amount, sum(s.tokens)::bigint as tokens
      from spent s
      cross join lateral payers_of(s.key_id, s.user_id, s.team_id) p
      cross join lateral (values (''), (s.model_group)) as m(model)
      where m.model = '' or exists (
        select from account a where a.kind = p.kind and a.owner = p.owner and a.model = m.model)
      group by 1, 2, 3
    ), of_period as (
      select a.kind, a.owner, a.model, sum(l.amount) as amount,
        sum(l.prompt_tokens + l.completion_tokens)::bigint as tokens
      from ledger l
      cross join lateral payers_of(l.key_id, l.user_id, l.team_id) p
      join account a on a.kind = p.kind and a.owner = p.owner and a.model in ('', l.model_group)
      where a.period_start > '-infinity' and l.occurred_at >= a.period_start
        and l.occurred_at >= (
          select min(period_start) from account where period_start > '-infinity')
      group by 1, 2, 3
    )
    select t.kind, t.owner, t.model, t.amount as total_amount, t.tokens as total_tokens,
      case when a.period_start > '-infinity' then coalesce(i.amount, 0) else t.amount end
        as period_amount,
      case when a.period_start > '-infinity' then coalesce(i.tokens, 0) else t.tokens end
        as period_tokens
    from total t
    left join account a on a.kind = t.kind and a.owner = t.owner and a.model = t.model
    left join of_period i on i.kind = t.kind and i.owner = t.owner and i.model = t.model`.execute(
    db,
  )

  const sums = sql.raw(`
    sum(l.amount) as amount,
    sum(l.prompt_tokens)::bigint as prompt_tokens,
    sum(l.completion_tokens)::bigint as completion_tokens,
    count(*) filter (where l.kind = 'usage') as requests,
    count(*) filter (where l.status in ('failure', 'interrupted')) as failures`)
  await sql`
    create view ledger_daily_spend as
    select (l.occurred_at at time zone 'UTC')::date as day, coalesce(l.key_id, '') as key_id,
      coalesce(l.user_id, '') as user_id, coalesce(l.team_id, '') as team_id,
      l.model_group collate "C" as model_group, l.provider collate "C" as provider,
      l.model collate "C" as model, ${sums}
    from ledger l
    group by 1, 2, 3, 4, 5, 6, 7`.execute(db)
  await sql`
    create view ledger_daily_tag_spend as
    with spent as (
      select (l.occurred_at at time zone 'UTC')::date as day, coalesce(l.key_id, '') as key_id,
        l.tags, ${sums}
      from ledger l
      where cardinality(l.tags) > 0
      group by 1, 2, 3
    )
    select s.day, t.tag collate "C" as tag, s.key_id, sum(s.amount) as amount,
      sum(s.prompt_tokens)::bigint as prompt_tokens,
      sum(s.completion_tokens)::bigint as completion_tokens,
      sum(s.requests)::bigint as requests, sum(s.failures)::bigint as failures
    from spent s
    cross join lateral (select distinct tag from unnest(s.tags) as tag) t
    group by 1, 2, 3`.execute(db)
}

async function seed(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into account (kind, owner, model, total_amount, total_tokens, period_amount,
      period_tokens)
    select kind, owner, model, total_amount, total_tokens, period_amount, period_tokens
    from ledger_account where model = ''
    on conflict (kind, owner, model) do update set total_amount = excluded.total_amount,
      total_tokens = excluded.total_tokens, period_amount = excluded.period_amount,
      period_tokens = excluded.period_tokens`.execute(db)
  await sql`insert into daily_spend select * from ledger_daily_spend`.execute(db)
  await sql`insert into daily_tag_spend select * from ledger_daily_tag_spend`.execute(db)
}

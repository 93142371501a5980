// The request log, and the prompts kept beside it, cut by month (UTC): what is old goes as a whole.
// The DEFAULT partition takes what has no month of its own yet, so that no row is ever refused.
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // Makes the partition of a month, moving there what the DEFAULT one holds of it. False: it is there
  // already. The table is locked for that time.
  await sql`
    create function make_month_partition(parent text, month date) returns boolean
    language plpgsql as $$
    declare
      part text := parent || to_char(month, '"_"YYYY"_"MM');
      first timestamptz := date_trunc('month', month::timestamp) at time zone 'UTC';
      after timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
        at time zone 'UTC';
    begin
      if to_regclass(part) is not null then
        return false;
      end if;
      -- The parent: a query that waited for the DEFAULT partition alone would have been planned without
      -- the new one, and so would see the moved rows in neither.
      execute format('lock table %I in access exclusive mode', parent);
      execute format('lock table %I in access exclusive mode', parent || '_default');
      -- Another process may have made it while we waited.
      if to_regclass(part) is not null then
        return false;
      end if;
      execute format('create table %I (like %I including all)', part, parent);
      execute format(
        'with moved as (
           delete from %I where received_at >= %L and received_at < %L returning *
         ) insert into %I select * from moved',
        parent || '_default', first, after, part);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)',
        parent, part, first, after);
      return true;
    end $$`.execute(db)

  // The rows first, the indexes after them: on an empty table they would be filled row by row.
  await sql`alter table request_log rename to request_log_before`.execute(db)
  await sql`
    create table request_log (like request_log_before including defaults including constraints)
    partition by range (received_at)`.execute(db)
  await sql`create table request_log_default partition of request_log default`.execute(db)
  await makePartitions(
    db,
    'request_log',
    sql`select distinct date_trunc('month', received_at at time zone 'UTC')::date
      from request_log_before`,
  )
  await sql`insert into request_log select * from request_log_before`.execute(db)
  await sql`drop table request_log_before`.execute(db)
  await sql`alter table request_log add primary key (received_at, request_id, attempt)`.execute(db)
  await sql`create index request_log_request on request_log (request_id)`.execute(db)
  for (const holder of ['key', 'user', 'team']) {
    const column = sql.ref(`${holder}_id`)
    await sql`
      create index ${sql.raw(`request_log_${holder}`)}
      on request_log (${column}, received_at, request_id, attempt)
      where ${column} is not null`.execute(db)
  }
  // Few rows, and the ones that people look for.
  await sql`
    create index request_log_failed on request_log (received_at, request_id, attempt)
    where status <> 'success'`.execute(db)

  await sql`
    create table request_content (
      received_at timestamptz(3) not null,
      request_id text collate "C" not null,
      attempt integer not null,
      request text not null,
      reply text not null,
      truncated boolean not null,
      primary key (received_at, request_id, attempt)
    ) partition by range (received_at)`.execute(db)
  await sql`create table request_content_default partition of request_content default`.execute(db)

  const coming = sql`
    select date_trunc('month', now() at time zone 'UTC')::date + n * interval '1 month'
    from generate_series(0, 2) as n`
  await makePartitions(db, 'request_log', coming)
  await makePartitions(db, 'request_content', coming)
}

/** @param months a query for dates in one column */
async function makePartitions(
  db: Kysely<unknown>,
  parent: string,
  months: ReturnType<typeof sql>,
): Promise<void> {
  await sql`
    select make_month_partition(${parent}, month::date) from (${months}) as wanted(month)`.execute(
    db,
  )
}

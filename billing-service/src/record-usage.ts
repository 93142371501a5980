// Usage events → priced rows, once: the ledger's unique index decides what is new, and only that
// gets a row in the request log and moves totals and reservations, all in the same transaction.
// Delivering again changes nothing.
import { type SoftBudgetReached, softBudgetReached } from '@penstock/shared/contracts/budget'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { type PricedUsage, priceUsage } from '@penstock/shared/pricing/price'
import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import type { Database } from './database.ts'
import { retryConflicts } from './money/retry-conflicts.ts'
import type { Release } from './usage-message.ts'
import { type UsageRow, usageRow } from './usage-row.ts'

export interface RecordedUsage {
  event: UsageEvent
  priced: PricedUsage
}

export interface RecordResult {
  recorded: number
  /** Events that had been recorded before, or stood twice in this batch. */
  duplicates: number
  /** What was recorded now. */
  entries: RecordedUsage[]
  /** Accounts that came to their soft limit by it, once in a budget period. */
  crossings: SoftBudgetReached[]
}

/** An event that no price or no row can be made of, however often it is tried. */
export class UnrecordableError extends Error {
  constructor(cause: unknown) {
    super('no price or row can be made of it', { cause })
    this.name = 'UnrecordableError'
  }
}

/**
 * Records a batch in ONE transaction: all of it or, if this throws, nothing of it.
 * @param releases reservations to give up, once the events are settled
 * @param at the moment that counts for leases and budget periods; null: the database's own now
 * @throws UnrecordableError for an event with an impossible price, id or time; the driver's error
 *   if the database is away (`isDataError` false) or takes exception at the data (true).
 */
export async function recordUsage(
  db: Kysely<Database>,
  events: readonly UsageEvent[],
  releases: readonly Release[] = [],
  at: Date | null = null,
): Promise<RecordResult> {
  const batch = distinct(events).map(prepare)
  if (batch.length === 0 && releases.length === 0) {
    return { recorded: 0, duplicates: 0, entries: [], crossings: [] }
  }
  const rows = batch.map(({ row }) => row)
  const { added, crossings } = await retryConflicts(() => insert(db, rows, releases, at))
  const isNew = new Set(added.map(([requestId, attempt]) => keyOf(requestId, attempt)))
  const entries = batch
    .filter(({ event }) => isNew.has(keyOf(event.requestId, event.attempt)))
    .map(({ event, priced }) => ({ event, priced }))
  const duplicates = events.length - entries.length
  return { recorded: entries.length, duplicates, entries, crossings }
}

function prepare(event: UsageEvent): RecordedUsage & { row: UsageRow } {
  try {
    const priced = priceUsage(event)
    return { event, priced, row: usageRow(event, priced) }
  } catch (cause) {
    throw new UnrecordableError(cause)
  }
}

/** Columns that the ledger and the request log have in common, by name. */
const shared = sql.raw(`request_id, attempt, amount, price_source, prompt_tokens, completion_tokens,
  usage_estimated, key_id, user_id, team_id, end_user, tags, model_group, deployment_id, provider,
  model`)

const inserted = z.object({
  added: z.array(z.tuple([z.string(), z.int()])),
  crossings: z.array(softBudgetReached),
})

/**
 * One statement, and so one transaction and one round trip, with all rows in one JSON parameter:
 * half the processor time of a row of parameters each, measured on both sides.
 * What is new stands in the ledger and in the log before an account is locked: reservations wait
 * for those locks. No entry is from the future, so that none is counted ahead of a period's begin.
 * @returns the keys of the rows that are new, and what settling them brought about
 */
async function insert(
  db: Kysely<Database>,
  events: UsageRow[],
  releases: readonly Release[],
  at: Date | null,
): Promise<z.infer<typeof inserted>> {
  const { rows } = await sql`
    with moment as (
      select coalesce(${at}::timestamptz, now()) as at
    ), parsed as materialized (
      select json_populate_record(null::request_log, value) as log,
        value -> 'unit_prices' as unit_prices, value -> 'content' as content
      from json_array_elements(${JSON.stringify(events)}::json)
    ), incoming as (
      select (log).*, unit_prices from parsed
    ), entered as (
      insert into ledger (kind, occurred_at, unit_prices, status, ${shared})
      select 'usage', least(received_at, date_trunc('milliseconds', at)), unit_prices, status,
        ${shared}
      from incoming, moment
      on conflict (request_id, attempt) where kind = 'usage' do nothing
      returning *
    ), logged as (
      insert into request_log
      select (log).* from parsed
      where ((log).request_id, (log).attempt) in (select request_id, attempt from entered)
      returning request_id, attempt
    ), kept as (
      insert into request_content
      select (log).received_at, (log).request_id, (log).attempt, content ->> 'request',
        content ->> 'reply', (content ->> 'truncated')::boolean
      from parsed
      where json_typeof(content) = 'object'
        and ((log).request_id, (log).attempt) in (select request_id, attempt from entered)
      returning attempt
    ), done as (
      select coalesce(json_agg(json_build_array(request_id, attempt)), '[]') as added,
        (select count(*) from kept) as contents
      from logged
    )
    select done.added, settle_usage(
      array(
        select row(request_id, status, occurred_at, amount, prompt_tokens, completion_tokens,
          key_id, user_id, team_id, tags, model_group, provider, model)::usage_entry
        from entered
      ), ${JSON.stringify(releases)}::jsonb, moment.at) as crossings
    from done, moment`.execute(db)
  return inserted.parse(rows[0])
}

/**
 * One event per attempt, in the order of their keys: two services that record overlapping batches
 * then wait for each other in the same order and cannot deadlock.
 */
function distinct(events: readonly UsageEvent[]): UsageEvent[] {
  const byKey = new Map<string, UsageEvent>()
  for (const event of events) {
    const key = keyOf(event.requestId, event.attempt)
    if (!byKey.has(key)) byKey.set(key, event)
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, event]) => event)
}

function keyOf(requestId: string, attempt: number): string {
  return `${requestId} ${attempt}`
}

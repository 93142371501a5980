// Usage events → priced rows, once: the ledger's unique index decides what is new, and only that
// gets a row in the request log, in the same transaction. Delivering again changes nothing.
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { type PricedUsage, priceUsage } from '@penstock/shared/pricing/price'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
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
 * @throws UnrecordableError for an event with an impossible price, id or time; the driver's error
 *   if the database is away (`isDataError` false) or takes exception at the data (true).
 */
export async function recordUsage(
  db: Kysely<Database>,
  events: readonly UsageEvent[],
): Promise<RecordResult> {
  const batch = distinct(events).map(prepare)
  if (batch.length === 0) return { recorded: 0, duplicates: 0, entries: [] }
  const isNew = await insert(
    db,
    batch.map(({ row }) => row),
  )
  const entries = batch
    .filter(({ event }) => isNew.has(keyOf(event.requestId, event.attempt)))
    .map(({ event, priced }) => ({ event, priced }))
  return { recorded: entries.length, duplicates: events.length - entries.length, entries }
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

/**
 * One statement, and so one transaction and one round trip, with all rows in one JSON parameter:
 * half the processor time of a row of parameters each, measured on both sides.
 * @returns the keys of the rows that are new.
 */
async function insert(db: Kysely<Database>, rows: UsageRow[]): Promise<Set<string>> {
  const { rows: added } = await sql<{ request_id: string; attempt: number }>`
    with incoming as (
      select row.*, element.value -> 'unit_prices' as unit_prices
      from json_array_elements(${JSON.stringify(rows)}::json) as element(value),
        lateral json_populate_record(null::request_log, element.value) as row
    ), entered as (
      insert into ledger (kind, occurred_at, unit_prices, ${shared})
      select 'usage', received_at, unit_prices, ${shared} from incoming
      on conflict (request_id, attempt) where kind = 'usage' do nothing
      returning request_id, attempt
    )
    insert into request_log (${columnsOf(rows)})
    select ${columnsOf(rows)} from incoming join entered using (request_id, attempt)
    returning request_id, attempt`.execute(db)
  return new Set(added.map((row) => keyOf(row.request_id, row.attempt)))
}

function columnsOf([first]: UsageRow[]) {
  const { unit_prices: _, ...logged } = first ?? {}
  return sql.join(Object.keys(logged).map((name) => sql.ref(name)))
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

// Usage events → priced rows, once: the ledger's unique index decides what is new, and only that
// gets a row in the request log and moves totals and reservations, all in the same transaction.
// Delivering again changes nothing.
import { type SoftBudgetReached, softBudgetReached } from '@penstock/shared/contracts/budget'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { type PricedUsage, priceUsage } from '@penstock/shared/pricing/price'
import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import { arrayText } from './array-text.ts'
import type { Database } from './database.ts'
import { retryConflicts } from './money/retry-conflicts.ts'
import type { Release } from './usage-message.ts'
import { columnsOf, type UsageRow, usageRow } from './usage-row.ts'

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

const inserted = z.object({
  added: z.array(z.tuple([z.string(), z.int()])),
  crossings: z.array(softBudgetReached),
})

/**
 * One statement, and so one transaction and one round trip (migrations/2026-06-recording.ts).
 * @returns the keys of the rows that are new, and what settling them brought about
 */
async function insert(
  db: Kysely<Database>,
  rows: readonly UsageRow[],
  releases: readonly Release[],
  at: Date | null,
): Promise<z.infer<typeof inserted>> {
  const columns = columnsOf(rows).map(
    (name) => sql`, ${sql.ref(name)} => ${arrayText(rows.map((row) => row[name]))}`,
  )
  const result = await sql<{ recorded: unknown }>`
    select record_usage(releases => ${JSON.stringify(releases)}, at => ${at}
      ${sql.join(columns, sql``)}) as recorded`.execute(db)
  return inserted.parse(result.rows[0]?.recorded)
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

// Stores what a handful of messages hold, whatever they hold: events are recorded, reservations
// released, and what can never be recorded is set aside in `usage_dead_letter`, so that it blocks
// nothing behind it.
import type { SoftBudgetReached } from '@penstock/shared/contracts/budget'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import type { Kysely } from 'kysely'
import type { Database } from './database.ts'
import { databaseErrorCode, isDataError } from './database-error.ts'
import { type RecordedUsage, recordUsage, UnrecordableError } from './record-usage.ts'
import { type Reject, type Release, readUsageMessage, rejectOf } from './usage-message.ts'

export interface Stored {
  /** Recorded by this call; an event that had been recorded before is not among them. */
  entries: RecordedUsage[]
  duplicates: number
  crossings: SoftBudgetReached[]
  /** What was set aside. */
  rejects: Reject[]
}

/** What of a dead letter is kept, in bytes: enough to see what it was. */
const maxPayloadBytes = 64 * 1024
const maxReasonLength = 500

/**
 * When this returns, every message may be acked.
 * @throws the driver's error if the database is away; nothing may be acked then, and storing the
 *   same messages again later is harmless.
 */
export async function storeUsage(
  db: Kysely<Database>,
  messages: readonly Uint8Array[],
): Promise<Stored> {
  const read = messages.map(readUsageMessage)
  const events = read.flatMap((message) => message.events)
  // A release is of a request that is over: all of its usage that is here stands before it.
  const releases = read.flatMap((message) => message.releases)
  const stored = await recordWhatCanBe(db, events, releases)
  const rejects = [...read.flatMap((message) => message.rejects), ...stored.rejects]
  if (rejects.length > 0) await setAside(db, rejects)
  return { ...stored, rejects }
}

async function recordWhatCanBe(
  db: Kysely<Database>,
  events: UsageEvent[],
  releases: Release[],
): Promise<Stored> {
  try {
    return { ...(await recordUsage(db, events, releases)), rejects: [] }
  } catch (error) {
    if (faultOf(error) === null) throw error
  }
  // One event spoils the batch: take them one by one to find it.
  const stored: Stored = { entries: [], duplicates: 0, crossings: [], rejects: [] }
  for (const event of events) {
    try {
      const { entries, duplicates, crossings } = await recordUsage(db, [event])
      stored.entries.push(...entries)
      stored.duplicates += duplicates
      stored.crossings.push(...crossings)
    } catch (error) {
      const fault = faultOf(error)
      if (fault === null) throw error
      stored.rejects.push(rejectOf(event, fault))
    }
  }
  await recordUsage(db, [], releases)
  return stored
}

/** What is wrong with the data; null if the database, not the data, is at fault. */
function faultOf(error: unknown): string | null {
  if (error instanceof UnrecordableError) return error.message
  return isDataError(error) ? `refused by the database: ${databaseErrorCode(error)}` : null
}

async function setAside(db: Kysely<Database>, rejects: Reject[]): Promise<void> {
  const rows = rejects.map(({ reason, payload }) => ({
    reason: reason.slice(0, maxReasonLength).toWellFormed().replaceAll('\0', '\ufffd'),
    payload: Buffer.from(payload.subarray(0, maxPayloadBytes)),
  }))
  const rowsPerStatement = 100
  for (let from = 0; from < rows.length; from += rowsPerStatement) {
    const part = rows.slice(from, from + rowsPerStatement)
    await db.insertInto('usage_dead_letter').values(part).execute()
  }
}

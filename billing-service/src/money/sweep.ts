// Every few seconds: leases that expired are freed, so that what nobody settled is not held for long
// in the eyes of whoever looks. (A refusal never counts them: it frees them itself.)
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Kysely, sql } from 'kysely'
import type { Database } from '../database.ts'
import { databaseProblem } from '../database-error.ts'
import { retryConflicts } from './retry-conflicts.ts'

const everyMs = 3_000
/**
 * Gateways that could not tell what they granted of their allowances do so within moments once somebody
 * answers again; until then those allowances pay for it. In milliseconds.
 */
const backMs = 10_000
/** Expired leases looked at in one transaction. */
const maxAtOnce = 500

/**
 * @param at null: the database's now
 * @param allowances whether those are freed, too
 * @returns how many were freed, in one transaction of bounded size
 */
export async function sweepReservations(
  db: Kysely<Database>,
  at: Date | null = null,
  allowances = true,
): Promise<number> {
  const { rows } = await retryConflicts(() =>
    sql<{ freed: string }>`
      select sweep_reservations(
        coalesce(${at}::timestamptz, now()), ${maxAtOnce}, ${allowances}) as freed
    `.execute(db),
  )
  return Number(rows[0]?.freed ?? 0)
}

/** Gateways of which nobody heard for an hour are forgotten: nothing of theirs is under way any more. */
export async function forgetHolders(db: Kysely<Database>): Promise<void> {
  await sql`delete from allowance_holder where heard_at < now() - interval '1 hour'`.execute(db)
}

/**
 * @param isConnected whether gateways can reach this service
 * @returns stop
 */
export function startSweep(
  db: Kysely<Database>,
  log: Logger,
  isConnected: () => boolean,
): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping

  // Without the database or the bus, or stopped as a whole.
  let awayAt = Date.now()
  let lookedAt = Date.now()

  async function sweepUntilStopped(): Promise<void> {
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        const now = Date.now()
        if (!isConnected() || now - lookedAt > backMs) awayAt = now
        const freed = await sweepReservations(db, null, now - awayAt > backMs)
        await forgetHolders(db)
        lookedAt = Date.now()
        if (freed > 0) log.info({ freed }, 'freed reservations that nobody settled')
      } catch (error) {
        awayAt = Date.now()
        log.debug({ problem: databaseProblem(error) }, 'cannot look for expired reservations')
      }
    }
  }

  const ended = sweepUntilStopped()
  return () => {
    stopping.abort()
    return ended
  }
}

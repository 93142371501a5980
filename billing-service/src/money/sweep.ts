// Every few seconds: leases that expired are freed, so that what nobody settled is not held for long
// in the eyes of whoever looks. (A refusal never counts them: it frees them itself.)
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Kysely, sql } from 'kysely'
import type { Database } from '../database.ts'
import { databaseProblem } from '../database-error.ts'
import { forgetHolders, freeAllowances } from './draw-allowances.ts'
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
 * @returns how many were freed, in one transaction of bounded size
 */
export async function sweepReservations(
  db: Kysely<Database>,
  at: Date | null = null,
): Promise<number> {
  const { rows } = await retryConflicts(() =>
    sql<{ freed: string }>`
      select sweep_reservations(coalesce(${at}::timestamptz, now()), ${maxAtOnce}) as freed
    `.execute(db),
  )
  return Number(rows[0]?.freed ?? 0)
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
        const freed = await sweepReservations(db)
        if (freed > 0) log.info({ freed }, 'freed reservations that nobody settled')
        const allowances = now - awayAt > backMs ? await freeAllowances(db) : 0
        if (allowances > 0)
          log.info({ freed: allowances }, 'freed what gateways held that are gone')
        await forgetHolders(db)
        lookedAt = Date.now()
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

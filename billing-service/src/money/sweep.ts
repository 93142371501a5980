// Every few seconds: leases that expired are freed, so that what nobody settled is not held for long
// in the eyes of whoever looks. (A refusal never counts them: it frees them itself.)
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Kysely, sql } from 'kysely'
import type { Database } from '../database.ts'
import { databaseProblem } from '../database-error.ts'
import { retryConflicts } from './retry-conflicts.ts'

const everyMs = 3_000
/** Expired leases looked at in one transaction. */
const maxAtOnce = 500

/** @returns how many were freed, in one transaction of bounded size. */
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

/** @returns stop */
export function startSweep(db: Kysely<Database>, log: Logger): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping

  async function sweepUntilStopped(): Promise<void> {
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        const freed = await sweepReservations(db)
        if (freed > 0) log.info({ freed }, 'freed reservations that nobody settled')
      } catch (error) {
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

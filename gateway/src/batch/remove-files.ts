// Takes files out of the storage: one that is not wanted, and those whose time is over. First the row
// says that the file is going, then its bytes go, then the row: a crash in between is made good later.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Kysely } from 'kysely'
import type { Storage } from './storage/storage.ts'
import type { BatchDatabase } from './store/database.ts'
import { forgetFile, markOverdue } from './store/files.ts'

export interface FilePlaces {
  db: Kysely<BatchDatabase>
  storage: Storage
}

const defaultIntervalMs = 60_000
/** No file takes longer to write. */
const writingLimitMs = 6 * 3_600_000
/** Files per statement, and statements per sweep. */
const atOnce = 100
const maxRounds = 100

/** Of a file that is being written or removed. */
export async function discard({ db, storage }: FilePlaces, fileId: string): Promise<void> {
  await storage.remove(fileId)
  await forgetFile(db, fileId)
}

/**
 * Removes what expired, and what was begun and never finished. @returns how many files
 * @throws what one of them failed with, once all others are gone
 */
export async function sweepFiles(places: FilePlaces, now: number = Date.now()): Promise<number> {
  const begunBefore = now - writingLimitMs
  let swept = 0
  const faults: unknown[] = []
  for (let round = 0; round < maxRounds; round++) {
    const overdue = await markOverdue(places.db, new Date(begunBefore), atOnce)
    const before = swept
    for (const fileId of overdue) {
      try {
        await discard(places, fileId)
        swept += 1
      } catch (cause) {
        // It comes again in the next round, and must not stand before all others each time.
        faults.push(cause)
      }
    }
    if (overdue.length < atOnce || swept === before) break
  }
  await places.storage.sweep(begunBefore)
  if (faults.length > 0) throw faults[0]
  return swept
}

/** Sweeps now and then. @returns how to stop it */
export function startFileSweeper(
  places: FilePlaces,
  log: Logger,
  intervalMs: number = defaultIntervalMs,
): () => Promise<void> {
  const stopped = new AbortController()
  const { signal } = stopped
  const keepSweeping = async () => {
    while (!signal.aborted) {
      try {
        const swept = await sweepFiles(places)
        if (swept > 0) log.info({ swept }, 'files removed that had expired')
      } catch (err) {
        log.warn({ err }, 'expired files could not be removed; tried again later')
      }
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => {})
    }
  }
  const ended = keepSweeping()
  return () => {
    stopped.abort()
    return ended
  }
}

// Keeps every batch going: looks at the tables each second and whenever a gateway says that a batch
// changed, stops what must stop, and sees to it that the jobs are there that a batch needs next. Runners
// do this side by side without knowing of each other: the jobs' ids make doubles impossible.
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Kysely } from 'kysely'
import { askDatabase, type BatchDatabase, type BatchRow } from '../store/database.ts'
import { type BatchJob, jobsAtOnce } from './jobs.ts'
import { createLiveBatch, type LiveBatch, type Phase } from './live-batch.ts'
import { forgetOldResults, liveBatches, noteRate, openSlices, readBatch } from './slices.ts'

export interface Drive {
  /** Those that are not over, as they were read last. */
  readonly batches: ReadonlyMap<string, LiveBatch>
  /** Null: it is over. @throws PenstockError `service_unavailable` */
  find(batchId: string): Promise<LiveBatch | null>
  /** It may have changed: look at it now. */
  look(batchId: string): Promise<void>
  /** The next one of its batch becomes a job, or, after the last one, its end. */
  sliceDone(batchId: string): Promise<void>
  /** The queue may have lost jobs: all are put back at the next look. */
  jobsLost(): void
  /** Stops looking; no line starts any more. */
  stop(): void
  /** All lines under way are withdrawn. */
  end(): void
}

export interface DriveOptions {
  db: Kysely<BatchDatabase>
  add(jobs: readonly (BatchJob & { traceparent: string | null })[]): Promise<void>
  /** Slices of a batch that are jobs at the same time where it runs alone. */
  window(): number
  log: Logger
  now?: () => number
}

const lookMs = 1_000
/** So often the jobs of a batch are put back though nothing seems to be wrong. */
const putBackMs = 30_000
const noteRateMs = 5_000
/** How long dead letters may be redriven after their batch has ended. */
const keepDeadMs = 30 * 24 * 3_600_000
const tidyMs = 3_600_000
const noSlices: ReadonlySet<number> = new Set()

interface Driven {
  live: LiveBatch
  /** For which phase its jobs were made sure of, and when. */
  phase: Phase | null
  at: number
  /** Slices that were made jobs of, as far as they are still open. */
  slices: ReadonlySet<number>
  ratedAt: number
}

export function createDrive({ db, add, window, log, now = Date.now }: DriveOptions): Drive {
  const driven = new Map<string, Driven>()
  const batches = new Map<string, LiveBatch>()
  let stopped = false
  let tidiedAt = 0
  let isAway = false

  function take(row: BatchRow): Driven {
    const known = driven.get(row.batch_id)
    if (known !== undefined) {
      known.live.update(row, now())
      return known
    }
    const one = {
      live: createLiveBatch(row, now()),
      phase: null,
      at: 0,
      slices: noSlices,
      ratedAt: now(),
    }
    driven.set(row.batch_id, one)
    batches.set(row.batch_id, one.live)
    return one
  }

  function drop(batchId: string): void {
    driven.get(batchId)?.live.update(null, now())
    driven.delete(batchId)
    batches.delete(batchId)
  }

  /** Its row, or that it is over. */
  async function refresh(batchId: string): Promise<Driven | null> {
    const row = await askDatabase(readBatch(db, batchId))
    if (stopped) return null
    if (row !== null) {
      const one = take(row)
      if (one.live.phase !== 'over') return one
    }
    drop(batchId)
    return null
  }

  async function act(one: Driven): Promise<void> {
    const { live } = one
    const { phase } = live
    await noteItsRate(one)
    const isSure = one.phase === phase && now() - one.at < putBackMs
    if (isSure || phase === 'over') return
    const { batch_id: batchId } = live.row
    if (phase === 'run') await addSlices(one, noSlices)
    else if (phase === 'validate') await addJobs(live, [{ kind: 'validate', batchId }])
    else if (phase !== 'rest') await addJobs(live, [{ kind: 'finalize', batchId }])
    one.phase = phase
    one.at = now()
  }

  /** Those that are next, or the batch's end where none is open. @param known the jobs of these are there */
  async function addSlices(one: Driven, known: ReadonlySet<number>): Promise<void> {
    const { live } = one
    const { batch_id: batchId } = live.row
    const open = await askDatabase(openSlices(db, batchId, shareOf()))
    const added = open.filter((slice) => !known.has(slice))
    const jobs = added.map((slice) => ({ kind: 'slice' as const, batchId, slice }))
    await addJobs(live, open.length === 0 ? [{ kind: 'finalize', batchId }] : jobs)
    one.slices = new Set(open)
  }

  async function addJobs({ row: { traceparent } }: LiveBatch, jobs: BatchJob[]): Promise<void> {
    if (jobs.length > 0) await add(jobs.map((job) => ({ ...job, traceparent })))
  }

  /** Slices of one batch that are jobs at once: many batches must not keep one more from starting. */
  function shareOf(): number {
    let running = 0
    for (const { phase } of batches.values()) if (phase === 'run') running += 1
    return Math.max(1, Math.min(window(), Math.floor(jobsAtOnce / Math.max(1, running))))
  }

  async function noteItsRate(one: Driven): Promise<void> {
    const { rate, phase, row } = one.live
    if (rate === null || phase !== 'run' || now() - one.ratedAt < noteRateMs) return
    one.ratedAt = now()
    await askDatabase(noteRate(db, row.batch_id, rate))
  }

  async function lookAtAll(): Promise<void> {
    const rows = await askDatabase(liveBatches(db))
    if (stopped) return
    const seen = new Set(rows.map(({ batch_id }) => batch_id))
    for (const batchId of [...driven.keys()]) if (!seen.has(batchId)) drop(batchId)
    // First of all everything stops that must.
    const all = rows.map(take)
    for (const one of all) await act(one)
    if (now() - tidiedAt < tidyMs) return
    tidiedAt = now()
    await askDatabase(forgetOldResults(db, new Date(now() - keepDeadMs)))
  }

  async function lookOnce(): Promise<void> {
    try {
      await lookAtAll()
      if (isAway) log.info('batches can be looked after again')
      isAway = false
    } catch (err) {
      if (!isAway) log.warn({ err }, 'batches cannot be looked after now')
      isAway = true
    }
  }

  function keepLooking(): void {
    if (looking === null) {
      looking = lookOnce().finally(() => {
        looking = null
      })
    } else {
      // The queue or the database keeps it waiting, and windows shut all the same.
      for (const { live } of driven.values()) live.update(live.row, now())
    }
    if (!stopped) timer = setTimeout(keepLooking, lookMs)
  }
  let looking: Promise<void> | null = null
  let timer = setTimeout(keepLooking, 0)

  return {
    batches,
    async find(batchId) {
      const known = driven.get(batchId) ?? (await refresh(batchId))
      return known === null ? null : known.live
    },
    async look(batchId) {
      try {
        if (!stopped) driven.get(batchId)?.live.release()
        const one = await refresh(batchId)
        if (one === null) return
        // Whoever changed it may have made jobs necessary that this runner thinks are there.
        one.phase = null
        await act(one)
      } catch (err) {
        log.warn({ err, batchId }, 'a batch that changed cannot be looked at now')
      }
    },
    async sliceDone(batchId) {
      const one = driven.get(batchId)
      if (one === undefined || one.live.phase !== 'run') return
      await addSlices(one, one.slices)
    },
    jobsLost() {
      for (const one of driven.values()) one.phase = null
    },
    stop() {
      stopped = true
      clearTimeout(timer)
      for (const { live } of driven.values()) live.hold(Number.POSITIVE_INFINITY)
    },
    end() {
      for (const batchId of [...driven.keys()]) drop(batchId)
    },
  }
}

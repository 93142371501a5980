// A batch as a runner sees it: what it is to be done with now, and two signals for those who work on
// it. `running` ends when no further line may start, `ended` when the lines under way are withdrawn too.
import type { BatchRow } from '../store/database.ts'
import { type OffPeak, parseOffPeak } from './off-peak.ts'

/**
 * `rest`: paused, before its time, outside its window, or waiting for a budget. `close`: cancelled, or
 * its completion window is over. `over`: nothing is left to do.
 */
export type Phase = 'validate' | 'run' | 'rest' | 'close' | 'finalize' | 'over'

export interface LiveBatch {
  readonly row: BatchRow
  readonly phase: Phase
  /** Aborted: no line may start now. Read it anew for each run of lines. */
  readonly running: AbortSignal
  /** Aborted: nobody wants its lines any more. Likewise. */
  readonly ended: AbortSignal
  /** The row as it is now; null: it is gone. @param now epoch milliseconds */
  update(row: BatchRow | null, now: number): void
  /** No line starts before that moment (epoch milliseconds). */
  hold(until: number): void
  /** What it was held for may be over; at the next update it runs. */
  release(): void
  /** Done per second over the last minute; null: too early to say. */
  readonly rate: number | null
}

const ending: readonly Phase[] = ['close', 'finalize', 'over']
const rateWindowMs = 60_000
const leastRateMs = 1_000
const maxSamples = 64

export function createLiveBatch(first: BatchRow, now: number): LiveBatch {
  const offPeak = first.off_peak === null ? null : parseOffPeak(first.off_peak)
  let running = new AbortController()
  let ended = new AbortController()
  let row = first
  let phase: Phase = 'rest'
  let heldUntil = 0
  let samples: { at: number; done: number }[] = []

  const enter = (next: Phase) => {
    if (next === 'run') {
      if (running.signal.aborted) running = new AbortController()
      // It had ended, and its dead lines were put back.
      if (ended.signal.aborted) ended = new AbortController()
    } else {
      running.abort()
      if (ending.includes(next)) ended.abort()
    }
    phase = next
  }
  const update = (changed: BatchRow | null, at: number) => {
    row = changed ?? row
    sample(at)
    enter(changed === null ? 'over' : phaseOf(changed, { offPeak, heldUntil, now: at }))
  }
  const sample = (at: number) => {
    const last = samples.at(-1)
    if (last !== undefined && at - last.at < leastRateMs) return
    samples.push({ at, done: row.completed + row.failed })
    samples = samples.filter((one) => at - one.at <= rateWindowMs).slice(-maxSamples)
  }
  update(first, now)

  return {
    get row() {
      return row
    },
    get phase() {
      return phase
    },
    get running() {
      return running.signal
    },
    get ended() {
      return ended.signal
    },
    update,
    hold(until) {
      heldUntil = Math.max(heldUntil, until)
      if (phase === 'run') enter('rest')
    },
    release() {
      heldUntil = 0
    },
    get rate() {
      const [oldest] = samples
      const last = samples.at(-1)
      if (oldest === undefined || last === undefined || last.at - oldest.at < leastRateMs)
        return null
      return Math.max(0, ((last.done - oldest.done) * 1_000) / (last.at - oldest.at))
    },
  }
}

interface Circumstances {
  offPeak: OffPeak | null
  heldUntil: number
  now: number
}

/** Pure. */
export function phaseOf(row: BatchRow, { offPeak, heldUntil, now }: Circumstances): Phase {
  if (row.status === 'finalizing') return 'finalize'
  if (row.status === 'cancelling') return 'close'
  if (row.status !== 'validating' && row.status !== 'in_progress') return 'over'
  if (row.expires_at.getTime() <= now) return 'close'
  if (row.status === 'validating') return 'validate'
  const isEarly = row.not_before !== null && row.not_before.getTime() > now
  const isShut = offPeak !== null && !offPeak.isOpen(now)
  return row.paused || isEarly || isShut || heldUntil > now ? 'rest' : 'run'
}

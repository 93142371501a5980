// How far a batch is, for people: one line redrawn on a terminal, else a line every few seconds.
import type { BatchObject, BatchStatus } from '@penstock/shared/contracts/batches'
import { count, duration } from './format.ts'

export interface Output {
  isTTY?: boolean
  columns?: number
  write(text: string): unknown
}

export interface Terminal {
  /** Results. */
  stdout: Output
  /** Progress. */
  stderr: Output
  /** Ctrl-C. */
  signal: AbortSignal
}

export interface Progress {
  show(batch: BatchObject): void
  /** A line that stays. */
  say(text: string): void
  /** The line that is redrawn goes away. */
  clear(): void
}

const rarelyMs = 5_000
const barWidth = 20
/** A speed measured over less is no speed. */
const leastSampleMs = 1_000
/** What the measured speed is of, in milliseconds. */
const sampleMs = 60_000
const maxSamples = 120
const eraseLine = '\r\u001b[K'

export function createProgress(output: Output, now: () => number = Date.now): Progress {
  const samples: { at: number; done: number }[] = []
  let lastStatus: BatchStatus | null = null
  let lastShownAt = Number.NEGATIVE_INFINITY
  let drawn = false

  /** Lines per second as seen from here; null: not known yet. */
  const measured = (done: number): number | null => {
    const at = now()
    samples.push({ at, done })
    while (samples.length > maxSamples || at - (samples[0]?.at ?? at) > sampleMs) samples.shift()
    const [first] = samples
    if (first === undefined || at - first.at < leastSampleMs) return null
    return ((done - first.done) * 1_000) / (at - first.at)
  }
  const clear = () => {
    if (drawn) output.write(eraseLine)
    drawn = false
  }
  return {
    show(batch) {
      const { completed, failed } = batch.request_counts
      const rate = batch.lines_per_second ?? measured(completed + failed)
      const text = progressText(batch, rate, now())
      if (output.isTTY === true) {
        output.write(`${eraseLine}${text.slice(0, Math.max(20, (output.columns ?? 80) - 1))}`)
        drawn = true
        return
      }
      const isNews = batch.status !== lastStatus || now() - lastShownAt >= rarelyMs
      if (!isNews) return
      lastStatus = batch.status
      lastShownAt = now()
      output.write(`${text}\n`)
    },
    say(text) {
      clear()
      output.write(`${text}\n`)
    },
    clear,
  }
}

/**
 * @param rate lines per second; null: unknown
 * @param now epoch milliseconds
 */
export function progressText(batch: BatchObject, rate: number | null, now: number): string {
  const { total, completed, failed } = batch.request_counts
  const done = completed + failed
  const parts = [`${batch.id} ${stateText(batch, now)}`]
  if (total > 0) {
    const share = Math.min(1, done / total)
    const full = Math.floor(share * barWidth)
    const bar = '█'.repeat(full) + '░'.repeat(barWidth - full)
    parts.push(`${bar} ${count(done)}/${count(total)}`, `${Math.floor(share * 100)}%`)
  }
  if (batch.status === 'in_progress' && !batch.paused) {
    if (rate !== null)
      parts.push(`${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))} lines/s`)
    const left = secondsLeft(batch, rate, now)
    if (left !== null) parts.push(`${duration(left)} left`)
  }
  if (failed > 0) parts.push(`${count(failed)} failed`)
  return parts.join('  ')
}

function stateText({ status, paused, not_before, window }: BatchObject, now: number): string {
  if (status !== 'in_progress' && status !== 'validating') return status
  if (paused) return `${status}, paused`
  if (not_before !== null && not_before * 1_000 > now) {
    return `waits until ${new Date(not_before * 1_000).toLocaleString()}`
  }
  return window === null ? status : `${status} (${window})`
}

function secondsLeft(batch: BatchObject, rate: number | null, now: number): number | null {
  const { estimated_completion_at: at, request_counts } = batch
  if (at !== null) return Math.max(0, at - now / 1_000)
  const { total, completed, failed } = request_counts
  const open = total - completed - failed
  return rate === null || rate <= 0 || total === 0 ? null : open / rate
}

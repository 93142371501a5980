// What a runner tells the gateways each second, for their metrics.
import { broadcast } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import type { BatchReport } from '@penstock/shared/contracts/batch-runner'
import { channels } from '@penstock/shared/contracts/channels'
import { askDatabase } from '../store/database.ts'
import type { LiveBatch } from './live-batch.ts'
import type { Runner } from './runner.ts'
import { countDead } from './slices.ts'

const reportMs = 1_000
const countDeadMs = 5_000

/** @returns stop */
export function startReports(
  bus: Bus,
  runnerId: string,
  runner: Pick<Runner, 'counts' | 'inFlight' | 'db'>,
  batches: () => Iterable<LiveBatch>,
): () => void {
  let deadLetters = 0
  let countedAt = 0
  const refreshDead = () => {
    if (Date.now() - countedAt < countDeadMs) return
    countedAt = Date.now()
    askDatabase(countDead(runner.db)).then(
      (dead) => {
        deadLetters = dead
      },
      // The last number stands until the database is back.
      () => {},
    )
  }
  const timer = setInterval(() => {
    refreshDead()
    const { completed, failed } = runner.counts
    broadcast(bus, channels.batchReport, {
      runnerId,
      running: runner.inFlight.lines,
      completed,
      failed,
      all: { deadLetters, ...totalsOf(batches(), Date.now()) },
    })
  }, reportMs)
  return () => clearInterval(timer)
}

/** Pure. @param now epoch milliseconds */
export function totalsOf(
  batches: Iterable<Pick<LiveBatch, 'row' | 'rate' | 'phase'>>,
  now: number,
): Omit<BatchReport['all'], 'deadLetters'> {
  let waiting = 0
  let linesPerSecond = 0
  let longest = 0
  for (const { row, rate, phase } of batches) {
    const left = Math.max(0, row.total - row.completed - row.failed)
    waiting += left
    if (phase !== 'run' || rate === null || rate === 0) continue
    linesPerSecond += rate
    longest = Math.max(longest, left / rate)
  }
  const finishedAt = linesPerSecond === 0 ? null : Math.ceil(now / 1_000 + longest)
  return { waiting, linesPerSecond, finishedAt }
}

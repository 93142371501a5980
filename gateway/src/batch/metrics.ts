// `penstock_batch_*` at /metrics: what each runner did is shown by runner, and counted on; what is true of all
// batches together every runner tells, and the newest word counts.
import type { MeterProvider } from '@opentelemetry/sdk-metrics'
import type { BatchReports } from './reports-view.ts'

export function observeBatches(
  meter: ReturnType<MeterProvider['getMeter']>,
  reports: BatchReports,
): void {
  const gauge = (name: string, description: string, unit = '') =>
    meter.createObservableGauge(`penstock.batch.${name}`, { description, unit })
  const runners = gauge('runners', 'Runners of batches that live')
  const waiting = gauge('lines_waiting', 'Lines of batches that have no result yet')
  const running = gauge('lines_running', 'Lines sent to the queue and not answered yet')
  const rate = gauge('lines_per_second', 'Lines done, over the last minute', '{line}/s')
  const dead = gauge('dead_letters', 'Lines whose attempts were used up, and that may be redriven')
  const finish = gauge('estimated_finish', 'When the last line should be done, Unix time', 's')
  const done = meter.createObservableCounter('penstock.batch.lines_done', {
    description: 'Lines that have got their result since the runner was started',
  })
  meter.addBatchObservableCallback(
    (result) => {
      const all = reports.all()
      result.observe(runners, all.length)
      for (const { runnerId: runner, ...one } of all) {
        result.observe(running, one.running, { runner })
        result.observe(done, one.completed, { runner, outcome: 'completed' })
        result.observe(done, one.failed, { runner, outcome: 'failed' })
      }
      const newest = all.at(-1)?.all
      if (newest === undefined) return
      result.observe(waiting, newest.waiting)
      result.observe(dead, newest.deadLetters)
      result.observe(rate, newest.linesPerSecond)
      if (newest.finishedAt !== null) result.observe(finish, newest.finishedAt)
    },
    [runners, waiting, running, rate, dead, finish, done],
  )
}

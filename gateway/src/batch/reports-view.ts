// The batches as their runners report them every second, for the gateway's metrics.
import { listen } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { heartbeatLostMs } from '@penstock/shared/bus/heartbeat'
import type { BatchReport } from '@penstock/shared/contracts/batch-runner'
import { channels } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'

export interface BatchReports {
  /** Of the runners that live, those that stopped a moment ago included. */
  all(): BatchReport[]
  close(): void
}

/** Of runners heard of, the newest ones. */
const maxRunners = 1_000

export function watchBatchReports(
  bus: Bus,
  log: Logger,
  now: () => number = Date.now,
): BatchReports {
  const reports = new Map<string, { report: BatchReport; at: number }>()
  const sub = listen(bus, log, channels.batchReport, (report) => {
    reports.delete(report.runnerId)
    reports.set(report.runnerId, { report, at: now() })
    const [oldest] = reports.keys()
    if (reports.size > maxRunners && oldest !== undefined) reports.delete(oldest)
  })
  return {
    all() {
      for (const [id, { at }] of reports) if (now() - at > heartbeatLostMs) reports.delete(id)
      return [...reports.values()].map(({ report }) => report)
    },
    close: () => sub.unsubscribe(),
  }
}

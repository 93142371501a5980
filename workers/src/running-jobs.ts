// The jobs that run in this process: the way for a cancel to reach the upstream call, and what the
// worker tells NATS ("still working") and the routers (slots taken and freed).
import { setTimeout as sleep } from 'node:timers/promises'
import { broadcast, parseJson } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import type { ServicesView } from '@penstock/shared/bus/heartbeat'
import type { LateMessage } from '@penstock/shared/bus/outbox'
import { ask } from '@penstock/shared/bus/request-reply'
import { ChurnMap } from '@penstock/shared/churn-map'
import { channels, type JobOutcome, type SlotReport } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { createRecent } from '@penstock/shared/recent'
import type { Logger } from '@penstock/shared/telemetry/log'

export interface RunningJob {
  requestId: string
  deploymentId: string
  /** The length of its history when it was routed. */
  hop: number
  gatewayId: string
  abort: AbortController
  /** Resets the queue's redelivery timer. */
  working(): void
  /** Set at its end; null: nothing can be said of the deployment. */
  outcome: JobOutcome | null
  /** Its slot was reported as free. */
  isReleased: boolean
}

export interface RunningJobs {
  readonly size: number
  /** @returns to be called at its end; releases it where that was not done */
  add(job: RunningJob): () => void
  /** Reports the outcome and gives the slot back at once, though the job is not at its end yet. */
  release(job: RunningJob): void
  cancel(requestId: string): void
  /** True once for a request that was cancelled before its job came here. */
  wasCancelled(requestId: string): boolean
  /** Whether this worker or another one runs the request now. */
  runsSomewhere(requestId: string): Promise<boolean>
  abortAll(reason: PenstockError): void
  /** Resolves when nothing runs any more. */
  idle(): Promise<void>
  close(): void
}

/** A third of the consumers' ack wait, so that one lost message does not cause a redelivery. */
export const ackWaitMs = 6_000
const workingMs = ackWaitMs / 3
const reportMs = 1_000
/** How long the worker that runs a redelivered job has to say so, in milliseconds. */
const probeMs = 400
const probePauseMs = 100
/** After a restart of NATS all workers are back by then, in milliseconds. */
const allBackMs = 2_000
/** Cancelled ids are kept for jobs that are still on their way; bounded. */
const maxCancelled = 10_000

export function createRunningJobs(
  bus: Bus,
  services: ServicesView,
  workerId: string,
  log: Logger,
): RunningJobs {
  const jobs = new ChurnMap<number, RunningJob>()
  const byRequest = new ChurnMap<string, RunningJob>()
  let counter = 0
  const cancelled = createRecent<true>(maxCancelled)
  const idleWaiters: (() => void)[] = []
  let released: SlotReport['released'] = []

  const say = (all: RunningJob[] | null): SlotReport => {
    const running =
      all?.map(({ deploymentId, requestId, hop }) => ({ deploymentId, requestId, hop })) ?? null
    const report = { workerId, released, running }
    released = []
    return report
  }
  /** One report for all jobs that ended since the last write, behind their acks. */
  const releases: LateMessage = () => {
    if (released.length === 0) return null
    const data = JSON.stringify(channels.slots.schema.parse(say(null)))
    return { subject: channels.slots.subject(), data }
  }
  const working = setInterval(() => {
    for (const job of jobs.values()) job.working()
  }, workingMs)
  const reporting = setInterval(() => {
    const running = [...jobs.values()]
    broadcast(bus, channels.slots, say(running.filter(({ isReleased }) => !isReleased)))
    for (const job of running) if (services.isLost('gateway', job.gatewayId)) abandon(job)
  }, reportMs)
  const abandon = ({ abort }: RunningJob) =>
    abort.abort(new PenstockError('client_closed_request', 'The client left.'))
  const probes = bus.nc.subscribe(channels.runningProbe.subject(), {
    callback: (error, msg) => {
      // Only the one that runs it answers: for the others silence says enough.
      const asked = error === null ? parseJson(channels.runningProbe.schema, msg.data) : null
      if (asked !== null && byRequest.has(asked.requestId)) msg.respond('{"running":true}')
    },
  })

  const release = (job: RunningJob) => {
    if (job.isReleased) return
    job.isReleased = true
    const { deploymentId, requestId, hop, outcome } = job
    released.push({ deploymentId, requestId, hop, outcome })
    // What is lost with it the next report of what runs makes up for.
    bus.outbox.laterFrom(releases, (cause) => log.error({ err: cause }, 'a slot report broke off'))
  }

  return {
    get size() {
      return jobs.size
    },
    release(job) {
      release(job)
      bus.outbox.flush()
    },
    add(job) {
      const number = counter++
      jobs.set(number, job)
      byRequest.set(job.requestId, job)
      return () => {
        jobs.delete(number)
        if (byRequest.get(job.requestId) === job) byRequest.delete(job.requestId)
        release(job)
        if (jobs.size === 0) for (const resolve of idleWaiters.splice(0)) resolve()
      }
    },
    cancel(requestId) {
      const job = byRequest.get(requestId)
      if (job !== undefined) {
        abandon(job)
        return
      }
      cancelled.set(requestId, true)
    },
    wasCancelled: (requestId) => cancelled.delete(requestId),
    async runsSomewhere(requestId) {
      if (byRequest.has(requestId)) return true
      const { runningProbe } = channels
      for (;;) {
        const runs = await ask(
          bus,
          runningProbe,
          runningProbe.subject(),
          { requestId },
          probeMs,
        ).then(
          ({ running }) => running,
          () => false,
        )
        const isSettled = Date.now() >= (bus.reconnectedAt ?? 0) + allBackMs
        if (runs || isSettled) return runs
        await sleep(probePauseMs)
      }
    },
    abortAll(reason) {
      for (const job of jobs.values()) job.abort.abort(reason)
    },
    idle() {
      if (jobs.size === 0) return Promise.resolve()
      return new Promise((resolve) => idleWaiters.push(resolve))
    },
    close() {
      probes.unsubscribe()
      clearInterval(working)
      clearInterval(reporting)
    },
  }
}

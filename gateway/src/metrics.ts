// What an operator's Prometheus reads at /metrics: requests as this gateway saw them (names of the
// GenAI semantic conventions where they have one), and the queues as the routers report them.

import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { ranks } from '@penstock/shared/contracts/request'
import type { RequestHandler } from 'express'
import { observeBatches } from './batch/metrics.ts'
import type { BatchReports } from './batch/reports-view.ts'
import type { BillingLag } from './billing-lag.ts'
import type { QueuesView } from './queues-view.ts'

export interface Metrics {
  /** @param seconds whole time at the gateway, the wait in queues included */
  answered(labels: RequestLabels, seconds: number): void
  /** Time to the first bytes of a stream, in seconds. */
  firstToken(labels: RequestLabels, seconds: number): void
  /** From now on: whether Redis counts the limits, and what was decided without it. */
  watchLimiter(limiter: LimiterView): void
  /** From now on: how far billing is behind, asked at every scrape. */
  watchBilling(lag: () => Promise<BillingLag | null>): void
  /** From now on: the batches as their runners report them. */
  watchBatches(reports: BatchReports): void
  /** An account has spent its soft limit. */
  softBudgetReached(kind: string): void
  handler: RequestHandler
  close(): Promise<void>
}

export interface LimiterView {
  readonly up: boolean
  /** Requests, so far. */
  readonly decidedWithout: number
}

export interface RequestLabels {
  operation: string
  /** The model group: its names come from the config or the fleet, so their number is bounded. */
  group: string
  /** `ok`, or the error's code. */
  outcome: string
}

/** From a cached answer to a long generation on a busy GPU, in seconds. */
const boundaries = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]
const breakerStates = ['closed', 'open', 'half-open'] as const

export function createMetrics(queues: QueuesView, inFlight: () => number): Metrics {
  const exporter = new PrometheusExporter({
    preventServerStart: true,
    withoutScopeInfo: true,
    withoutTargetInfo: true,
  })
  const provider = new MeterProvider({ readers: [exporter] })
  const meter = provider.getMeter('penstock')
  const seconds = { unit: 's', advice: { explicitBucketBoundaries: boundaries } }
  const duration = meter.createHistogram('gen_ai.server.request.duration', {
    ...seconds,
    description: 'Time of a whole request, its wait in queues included',
  })
  const ttft = meter.createHistogram('gen_ai.server.time_to_first_token', {
    ...seconds,
    description: 'Time to the first bytes of a streamed answer, its wait in queues included',
  })
  const waiting = meter.createObservableGauge('penstock.gateway.requests_in_flight', {
    description: 'Requests that this gateway has accepted and not answered yet',
  })
  waiting.addCallback((result) => result.observe(inFlight()))
  observeQueues(meter, queues)
  const softBudgets = meter.createCounter('penstock.budget.soft_reached', {
    description: 'Soft budgets reached; every gateway counts them all: take the maximum',
  })

  const attributes = ({ operation, group, outcome }: RequestLabels) => ({
    'gen_ai.operation.name': operation,
    'gen_ai.request.model': group,
    ...(outcome === 'ok' ? {} : { 'error.type': outcome }),
  })
  return {
    answered: (labels, time) => duration.record(time, attributes(labels)),
    firstToken: (labels, time) => ttft.record(time, attributes(labels)),
    watchLimiter: (limiter) => observeLimiter(meter, limiter),
    watchBatches: (reports) => observeBatches(meter, reports),
    watchBilling: (lag) => observeBilling(meter, lag),
    softBudgetReached: (kind) => softBudgets.add(1, { kind }),
    handler: (req, res) => exporter.getMetricsRequestHandler(req, res),
    close: () => provider.shutdown(),
  }
}

function observeLimiter(meter: ReturnType<MeterProvider['getMeter']>, limiter: LimiterView): void {
  const up = meter.createObservableGauge('penstock.limiter.redis_up', {
    description: '1 while the limits of keys are counted in Redis, 0 while it is lost',
  })
  const without = meter.createObservableCounter('penstock.limiter.decided_without_redis', {
    description: 'Requests whose limits were refused or counted here, because Redis was lost',
  })
  up.addCallback((result) => result.observe(limiter.up ? 1 : 0))
  without.addCallback((result) => result.observe(limiter.decidedWithout))
}

function observeBilling(
  meter: ReturnType<MeterProvider['getMeter']>,
  lag: () => Promise<BillingLag | null>,
): void {
  const events = meter.createObservableGauge('penstock.billing.lag_events', {
    description: 'Messages of usage that are not in the ledger yet, each of one event or a few',
  })
  const seconds = meter.createObservableGauge('penstock.billing.lag_seconds', {
    description: 'How long the oldest of them has waited',
  })
  meter.addBatchObservableCallback(
    async (result) => {
      const found = await lag()
      if (found === null) return
      result.observe(events, found.messages)
      result.observe(seconds, found.oldestMs / 1_000)
    },
    [events, seconds],
  )
}

function observeQueues(meter: ReturnType<MeterProvider['getMeter']>, queues: QueuesView): void {
  const gauge = (name: string, description: string, unit?: string) =>
    meter.createObservableGauge(name, { description, ...(unit === undefined ? {} : { unit }) })
  const depth = gauge('penstock.queue.depth', 'Requests that wait for a slot')
  const oldest = gauge('penstock.queue.oldest_wait', 'How long the first of them has waited', 's')
  const drain = gauge('penstock.queue.drain_rate', 'Requests that got a slot', '{request}/s')
  const used = gauge('penstock.slots.used', 'Slots taken, all workers together')
  const total = gauge('penstock.slots.total', 'Slots of the deployment')
  const breaker = gauge('penstock.breaker.state', '1 for the state the circuit breaker is in')
  meter.addBatchObservableCallback(
    (result) => {
      for (const {
        group,
        depthByRank,
        oldestWaitMs,
        drainPerSecond,
        deployments,
      } of queues.groups()) {
        for (const [priority, waiting] of Object.entries(depthByClass(depthByRank))) {
          result.observe(depth, waiting, { group, priority })
        }
        result.observe(oldest, oldestWaitMs / 1000, { group })
        result.observe(drain, drainPerSecond, { group })
        for (const { id, slots, inUse, breaker: state } of deployments) {
          result.observe(used, inUse, { group, deployment: id })
          result.observe(total, slots, { group, deployment: id })
          for (const one of breakerStates) {
            result.observe(breaker, one === state ? 1 : 0, { group, deployment: id, state: one })
          }
        }
      }
    },
    [depth, oldest, drain, used, total, breaker],
  )
}

/** Every class, empty ones too. Ranks are finer: LiteLLM's `priority` shifts them around a class. */
export function depthByClass(depths: { rank: number; depth: number }[]): Record<string, number> {
  const out: Record<string, number> = Object.fromEntries(
    Object.keys(ranks).map((name) => [name, 0]),
  )
  for (const { rank, depth } of depths) {
    const [name] = Object.entries(ranks).reduce((best, one) =>
      Math.abs(one[1] - rank) < Math.abs(best[1] - rank) ? one : best,
    )
    out[name] = (out[name] ?? 0) + depth
  }
  return out
}

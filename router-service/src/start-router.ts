// Starts one router: take a share of the request queue, listen to the fleet, decide.
import { randomUUID } from 'node:crypto'
import { createAckLog } from '@penstock/shared/bus/ack-log'
import { listen } from '@penstock/shared/bus/broadcast'
import { connectBus } from '@penstock/shared/bus/connect'
import { createFinishedFrames } from '@penstock/shared/bus/finished-frames'
import { watchFleet } from '@penstock/shared/bus/fleet-view'
import { startHeartbeat, watchServices } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { resolveGroup } from '@penstock/shared/config/resolve-group'
import { channels, partitionOf } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { Logger } from '@penstock/shared/telemetry/log'
import { startTracing } from '@penstock/shared/telemetry/trace'
import { createBreakers } from './health/breaker.ts'
import { createPrefixMemory } from './health/prefix-affinity.ts'
import { createRateLimits } from './health/rate-limits.ts'
import { createStats } from './health/stats.ts'
import type { Held } from './held.ts'
import { startPartitions } from './partitions.ts'
import { policyOf } from './policy.ts'
import { describeQueues, reportQueues, tellPositions } from './queue-report.ts'
import { createReclaimer } from './reclaim.ts'
import { createRecoveries } from './recoveries.ts'
import { createRouter, type Router } from './router.ts'
import { createScheduler, type Scheduler } from './scheduler.ts'
import { createSlots } from './slots.ts'

export interface RouterOptions {
  config: PenstockConfig
  natsUrl: string
  log: Logger
}

/** How often the positions are looked at, in milliseconds. */
const positionTickMs = 2_000
const reportMs = 1_000
const expireMs = 100
const reclaimMs = 2_000
/** Deployments that are remembered when they have left: hosts may come and go for ever. */
const maxKnown = 5_000
const gatewayLost = new PenstockError('interrupted', 'The gateway was cut off from its router.')
  .info
/** About what the KV caches of a fleet hold. */
const prefixMemory = { maxEntries: 100_000, ttlMs: 10 * 60_000 }

export async function startRouter({ config, natsUrl, log }: RouterOptions) {
  const id = randomUUID()
  const bus = await connectBus({ natsUrl, name: `router ${id}`, log })
  const tracing = await startTracing('router')
  const fleet = watchFleet(bus, log)
  const services = watchServices(bus, log)
  const now = Date.now
  let policy = policyOf(config)

  const infos = new Map<string, DeploymentInfo>()
  const inGroup = (name: string) => {
    const direct = fleet.inGroup(name)
    if (direct.length > 0) return direct
    const group = resolveGroup(name, policy.known, fleet.groups(), fleet.aliases)
    return group === null ? [] : fleet.inGroup(group)
  }
  const breakerOptions = {
    // A reload replaces the policy.
    get allowedFails() {
      return policy.breaker.allowedFails
    },
    get cooldownMs() {
      return policy.breaker.cooldownMs
    },
  }
  const slots = createSlots(now)
  const stats = createStats(now)
  const rates = createRateLimits(now)
  const breakers = createBreakers(breakerOptions, now)
  const state = { inGroup, isHealthy: (one: string) => breakers.allows(one) }
  let scheduler: Scheduler
  const router: Router = createRouter({
    bus,
    acks: createAckLog(bus),
    finished: createFinishedFrames(bus),
    slots,
    fleet: state,
    policy: () => policy.decide,
    scheduler: () => scheduler,
    tracing,
    log,
  })
  scheduler = createScheduler({
    strategy: () => policy.strategy,
    limitsOf: (group) => policy.limitsOf(group),
    enforceRates: () => policy.enforceRates,
    inGroup,
    infoOf: (one) => fleet.deployments.get(one) ?? infos.get(one),
    slots,
    stats,
    breakers,
    rates,
    prefixes: createPrefixMemory(now, prefixMemory),
    now,
    random: Math.random,
    assign: (waiting, deployment, reasons) => router.assign(waiting as Held, deployment, reasons),
    giveUp: (waiting, error) => router.fail(waiting as Held, error),
    onUnhealthy: (name) => router.reconsider(name),
  })

  const onFleetChange = () => {
    for (const info of fleet.deployments.values()) {
      infos.delete(info.id)
      infos.set(info.id, info)
    }
    for (const oldest of infos.keys()) {
      if (infos.size <= maxKnown || fleet.deployments.has(oldest)) break
      infos.delete(oldest)
    }
    for (const known of [stats, rates, breakers]) known.forget(infos)
    for (const name of [...scheduler.rooms().keys()]) router.reconsider(name)
  }
  fleet.onChange(onFleetChange)
  const subs = [
    listen(bus, log, channels.cancel, ({ requestId }) => router.cancel(requestId)),
    listen(bus, log, channels.slots, (report) => scheduler.onReport(report)),
  ]
  let schedules = true
  const problems = () => (schedules ? [] : ['router: schedules no part of the request queue'])
  const stopHeartbeat = startHeartbeat(bus, 'router', id, problems)
  const partitions = await startPartitions({
    bus,
    routerId: id,
    services,
    log,
    onMessage: router.receive,
    onLost: router.forgetPartition,
  })
  const isMine = (group: string) => partitions.held.has(partitionOf(group))
  const reclaimer = createReclaimer({
    bus,
    log,
    isAlive: (one) => fleet.deployments.has(one),
    lastInfo: (one) => infos.get(one),
    isMine,
  })
  const isServed = (name: string) => inGroup(name).some(({ id: one }) => breakers.allows(one))
  const recoveries = createRecoveries(fleet.groups, isServed)
  let reclaiming = false
  const timers = [
    setInterval(() => {
      scheduler.expire()
      scheduler.expireAmong(router.paused)
    }, expireMs),
    setInterval(() => {
      for (const one of [...router.held.values()]) {
        if (!services.isLost('gateway', one.request.gatewayId)) continue
        scheduler.remove(one)
        // It may only have been cut off: then its client is told.
        router.fail(one, gatewayLost)
      }
      // One of them may be the fallback of those who wait where nobody serves them.
      const stranded = recoveries.look() ? [...scheduler.rooms().keys()] : []
      for (const name of stranded) if (!isServed(name)) router.reconsider(name)
      // With more routers than parts, or none free yet, others do the work.
      schedules = partitions.held.size > 0 || services.living('router').length > 1
      const deployments = fleet.deployments.values()
      const sources = { scheduler, slots, breakers, deployments, isMine, now: now() }
      reportQueues(bus, id, describeQueues(sources))
    }, reportMs),
    setInterval(() => tellPositions(bus, scheduler, router.paused, now()), positionTickMs),
    setInterval(() => {
      if (reclaiming || !bus.connected) return
      reclaiming = true
      reclaimer
        .run()
        .catch((cause) => log.warn({ err: cause }, 'looking for jobs without a worker failed'))
        .finally(() => {
          reclaiming = false
        })
    }, reclaimMs),
  ]
  log.info({ id, partitions: partitions.held.size }, 'router consumes requests')

  return {
    /** Another policy from now on; what waits is judged by it anew. */
    reload(changed: PenstockConfig) {
      policy = policyOf(changed)
      onFleetChange()
    },
    /** What waits here goes to another router at once. */
    async close() {
      for (const timer of timers) clearInterval(timer)
      stopHeartbeat()
      await partitions.close()
      scheduler.close()
      for (const sub of subs) sub.unsubscribe()
      fleet.close()
      services.close()
      await bus.close()
      await tracing.close()
    },
  }
}

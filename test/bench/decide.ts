// What one decision of the router costs, without any server: a large fleet, a long queue, and one slot
// after the other that becomes free. `node test/bench/decide.ts` prints it; nothing is asserted.
import { decide, type Policy } from '@penstock/router-service/decide'
import { createBreakers } from '@penstock/router-service/health/breaker'
import { createPrefixMemory } from '@penstock/router-service/health/prefix-affinity'
import { createRateLimits } from '@penstock/router-service/health/rate-limits'
import { createStats } from '@penstock/router-service/health/stats'
import { laneOf } from '@penstock/router-service/requirement'
import { createScheduler, type Waiting } from '@penstock/router-service/scheduler'
import { createSlots } from '@penstock/router-service/slots'
import { strategyNamed } from '@penstock/router-service/strategies/table'
import type { RoutingStrategy } from '@penstock/shared/config/config'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { type RequestEnvelope, ranks } from '@penstock/shared/contracts/request'
import { milliseconds } from './format.ts'
import { type Spread, spreadOf } from './statistics.ts'

const deploymentCount = 200
const slotsEach = 4
const queueLengths = [100, 1_000, 10_000]
const longest = Math.max(...queueLengths)
const sharerCount = 100
const decisions = 2_000
const warmUp = 500
const group = 'large'

const policy: Policy = {
  numRetries: 2,
  retryPolicy: {},
  fallbacks: {},
  contextWindowFallbacks: {},
  contentPolicyFallbacks: {},
  defaultFallbacks: [],
  enableTagFiltering: false,
  enablePreCallChecks: true,
  localGroups: new Set(),
}

function deployment(index: number): DeploymentInfo {
  return {
    id: `deployment-${index}`,
    group,
    provider: 'openai',
    model: 'model',
    slots: slotsEach,
    weight: 1 + (index % 3),
    order: null,
    rpm: null,
    tpm: null,
    tags: [],
    locality: index % 2 === 0 ? 'local' : 'cloud',
    maxInputTokens: 100_000,
    maxOutputTokens: null,
    inputCostPerToken: 1e-6,
    outputCostPerToken: 2e-6,
    cooldownMs: null,
    apiBase: null,
    priceRef: null,
    prices: null,
  }
}

let sequence = 0

function request(): RequestEnvelope {
  const index = sequence++
  const now = Date.now()
  return {
    id: `request-${index}`,
    correlationId: `request-${index}`,
    operation: 'chat',
    dialect: 'chat',
    dialectHeaders: {},
    stream: true,
    includeUsage: false,
    requestedModel: group,
    model: group,
    group,
    gatewayId: 'gateway',
    replyTo: `frames.${index}`,
    receivedAt: now,
    deadline: now + 600_000,
    caller: { keyId: null, userId: null, teamId: null, endUser: null },
    waitsIn: group,
    rank: index % 5 === 0 ? ranks.flex : ranks.default,
    sharer: `user:${index % sharerCount}`,
    weight: 1,
    local: index % 10 === 0,
    maxQueueWaitMs: null,
    promptTokens: 500,
    maxTokens: 500,
    prefixes: [`conversation-${index % 1_000}`, `turn-${index}`],
    tags: [],
    sessionId: null,
    storePrompts: false,
    allowedGroups: null,
    answerLimit: null,
    body: { kind: 'inline' },
    history: [],
  }
}

/** A router's scheduler whose slots are all taken, so that everything that comes has to wait. */
function createBench(strategy: RoutingStrategy) {
  const now = Date.now
  const fleet = Array.from({ length: deploymentCount }, (_, index) => deployment(index))
  const infos = new Map(fleet.map((info) => [info.id, info]))
  const inGroup = (name: string) => (name === group ? fleet : [])
  const breakers = createBreakers({ allowedFails: 3, cooldownMs: 5_000 }, now)
  const state = { inGroup, isHealthy: (id: string) => breakers.state(id) !== 'open' }
  const assigned: { requestId: string; deploymentId: string }[] = []
  const scheduler = createScheduler({
    strategy: () => strategyNamed(strategy),
    limitsOf: () => ({ maxQueueDepth: null, maxQueueWaitMs: null }),
    enforceRates: () => false,
    inGroup,
    infoOf: (id) => infos.get(id),
    slots: createSlots(now),
    stats: createStats(now),
    breakers,
    rates: createRateLimits(now),
    prefixes: createPrefixMemory(now, { maxEntries: 100_000, ttlMs: 600_000 }),
    now,
    random: Math.random,
    assign: (waiting, info) => {
      assigned.push({ requestId: waiting.request.id, deploymentId: info.id })
    },
    giveUp: () => {},
    onUnhealthy: () => {},
  })

  /** All that a request costs on its way in. */
  function enqueue(one: RequestEnvelope): Waiting {
    const decision = decide(one, state, policy)
    if (decision.kind === 'fail') throw new Error(decision.error.message)
    const { requirement, reasons } = decision
    const at = now()
    const { rank, sharer, weight } = one
    const lane = laneOf(requirement)
    const waiting = { rank, sharer, weight, lane, request: one, group, requirement, reasons }
    const placed: Waiting = { ...waiting, enqueuedAt: at, toldAt: at }
    scheduler.enqueue(placed)
    return placed
  }

  /** The longest running job ends, and its slot goes to the next in the queue. */
  function releaseOne(): void {
    const ended = assigned.shift()
    if (ended === undefined) throw new Error('nothing runs')
    const outcome = { error: null, ms: 800, ttftMs: 90, promptTokens: 500, completionTokens: 200 }
    const released = [{ ...ended, hop: 0, outcome }]
    scheduler.onReport({ workerId: 'worker', released, running: null })
  }

  for (let slot = 0; slot < deploymentCount * slotsEach; slot++) enqueue(request())
  const { remove, expire, close } = scheduler
  return { enqueue, releaseOne, remove, expire, close }
}

type Bench = ReturnType<typeof createBench>

/** @returns milliseconds of each turn, those for warming up left out */
function timed(turn: () => void, untimed: () => void): Spread | null {
  const times: number[] = []
  for (let index = 0; index < warmUp + decisions; index++) {
    const begunAt = performance.now()
    turn()
    if (index >= warmUp) times.push(performance.now() - begunAt)
    untimed()
  }
  return spreadOf(times)
}

/** The queue is as long after each turn as it was before. */
function measureEnqueue(bench: Bench): Spread | null {
  let last: Waiting | null = null
  let next = request()
  return timed(
    () => {
      last = bench.enqueue(next)
    },
    () => {
      if (last !== null) bench.remove(last)
      next = request()
    },
  )
}

function line(what: string, spread: Spread | null): string {
  if (spread === null) return `${what.padEnd(60)} not measured`
  const { p50, p99 } = spread
  return `${what.padEnd(60)} p50 ${milliseconds(p50)} ms   p99 ${milliseconds(p99)} ms`
}

console.log(
  `${deploymentCount} deployments of ${slotsEach} slots in one group, ${sharerCount} users`,
)
const lengthening = createBench('simple-shuffle')
let waiting = 0
for (const length of queueLengths) {
  for (; waiting < length; waiting++) lengthening.enqueue(request())
  console.log(line(`enqueue with ${length} waiting`, measureEnqueue(lengthening)))
}
const looks = timed(lengthening.expire, () => {})
console.log(line(`look for who waited too long, ${waiting} waiting`, looks))
lengthening.close()

const strategies = [
  'simple-shuffle',
  'least-busy',
  'latency-based-routing',
  'prefix-affinity',
] as const
for (const strategy of strategies) {
  const bench = createBench(strategy)
  for (let index = 0; index < longest; index++) bench.enqueue(request())
  const spread = timed(bench.releaseOne, () => bench.enqueue(request()))
  console.log(line(`slot to next request, ${longest} waiting, ${strategy}`, spread))
  bench.close()
}

import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { type RequestEnvelope, ranks } from '@penstock/shared/contracts/request'
import { deployment } from './fixtures/deployment.ts'
import { createBreakers } from './health/breaker.ts'
import { createPrefixMemory } from './health/prefix-affinity.ts'
import { createRateLimits } from './health/rate-limits.ts'
import { createStats } from './health/stats.ts'
import { createScheduler, type Waiting } from './scheduler.ts'
import { createSlots } from './slots.ts'
import { leastBusy } from './strategies/least-busy.ts'

beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 }))
afterEach(() => mock.timers.reset())

let ids = 0

function waiting(more: Partial<RequestEnvelope> = {}): Waiting {
  const request = {
    id: `r${ids++}`,
    history: [],
    prefixes: [],
    promptTokens: 0,
    maxTokens: null,
    maxQueueWaitMs: null,
    receivedAt: Date.now(),
    deadline: Date.now() + 600_000,
    ...more,
  } as unknown as RequestEnvelope
  const requirement = { local: false, tags: null, promptTokens: null, except: [] }
  const common = { group: 'a', requirement, lane: '', weight: 1, reasons: [] }
  const at = { enqueuedAt: Date.now(), toldAt: Date.now() }
  return { request, rank: ranks.default, sharer: request.id, ...common, ...at }
}

/** One that needs room for its prompt; all of them in one lane, as those of nearly equal size are. */
function fits(promptTokens: number, sharer: string): Waiting {
  const one = waiting({ promptTokens })
  return { ...one, sharer, lane: 'size', requirement: { ...one.requirement, promptTokens } }
}

function setUp(members: DeploymentInfo[], enforceRates = false, now = Date.now) {
  const assigned: [string, string][] = []
  const unhealthy: string[] = []
  const ended: [string, ErrorCode][] = []
  const scheduler = createScheduler({
    strategy: () => leastBusy,
    limitsOf: () => ({ maxQueueDepth: null, maxQueueWaitMs: null }),
    enforceRates: () => enforceRates,
    inGroup: () => members,
    infoOf: (id) => members.find((info) => info.id === id),
    slots: createSlots(now),
    stats: createStats(now),
    breakers: createBreakers({ allowedFails: 3, cooldownMs: 5_000 }, now),
    rates: createRateLimits(now),
    prefixes: createPrefixMemory(now, { maxEntries: 10, ttlMs: 1_000 }),
    now,
    random: () => 0,
    assign: ({ request }, { id }) => assigned.push([request.id, id]),
    giveUp: ({ request }, { code }) => ended.push([request.id, code]),
    onUnhealthy: (name) => unhealthy.push(name),
  })
  const release = (deploymentId: string, requestId: string, code: ErrorCode | null, hop = 0) => {
    const error = code === null ? null : new PenstockError(code, 'x').info
    const outcome = { error, ms: 10, ttftMs: null, promptTokens: 0, completionTokens: 0 }
    const released = [{ deploymentId, requestId, hop, outcome }]
    scheduler.onReport({ workerId: 'w', released, running: null })
  }
  return { scheduler, assigned, unhealthy, ended, release }
}

test('a request gets a slot at once, the next one when it is free again', () => {
  const { scheduler, assigned, release } = setUp([deployment('a', 'd1')])
  const [first, second] = [waiting(), waiting()]
  for (const one of [first, second]) scheduler.enqueue(one)
  assert.deepEqual(assigned, [[first.request.id, 'd1']])
  release('d1', first.request.id, null)
  assert.deepEqual(assigned.at(-1), [second.request.id, 'd1'])
})

test('when a breaker opens, what waits is asked about anew', () => {
  const { scheduler, unhealthy, release } = setUp([deployment('a', 'd1')])
  const [first, second] = [waiting(), waiting()]
  for (const one of [first, second]) scheduler.enqueue(one)
  release('d1', first.request.id, 'upstream_unreachable')
  assert.deepEqual(unhealthy, ['a'])
})

test('a retry that begins before its first attempt is settled leaves no share behind', () => {
  const { scheduler, release } = setUp([deployment('a', 'd1'), deployment('a', 'd2')])
  const first = waiting()
  scheduler.enqueue(first)
  const error = new PenstockError('upstream_error', 'x').info
  const line = { deploymentId: 'd1', group: 'a', error, at: Date.now() }
  const again = { ...waiting({ id: first.request.id, history: [line] }), sharer: first.sharer }
  scheduler.enqueue(again)
  release('d1', first.request.id, 'upstream_error', 0)
  release('d2', first.request.id, null, 1)
  assert.equal(scheduler.rooms().get('a')?.shares.idle, true)
})

test('a prompt over the limit of the minute waits without holding up the others', () => {
  const limited = deployment('a', 'd1', { slots: 10, tpm: 1_000 })
  const { scheduler, assigned } = setUp([limited], true)
  const big = waiting({ promptTokens: 800 })
  const tooBigNow = waiting({ promptTokens: 900 })
  const small = waiting({ promptTokens: 50 })
  for (const one of [big, tooBigNow, small]) scheduler.enqueue(one)
  assert.deepEqual(
    assigned.map(([id]) => id),
    [big.request.id, small.request.id],
  )
})

test('a limit with room again wakes whoever it held up, whatever stands at the head', () => {
  const taken = deployment('a', 'd1')
  const limited = deployment('a', 'd2', { slots: 10, tpm: 100 })
  const { scheduler, assigned } = setUp([taken, limited], true)
  const only = (id: string, promptTokens: number): Waiting => {
    const except = id === 'd1' ? ['d2'] : ['d1']
    const one = waiting({ promptTokens })
    return { ...one, lane: id, requirement: { ...one.requirement, except } }
  }
  for (const one of [only('d1', 500), only('d2', 80), only('d1', 500)]) scheduler.enqueue(one)
  const heldUp = only('d2', 80)
  scheduler.enqueue(heldUp)
  assert.equal(assigned.length, 2)
  mock.timers.tick(61_100)
  assert.deepEqual(assigned.at(-1), [heldUp.request.id, 'd2'])
})

test('a prompt over every limit is refused at once: no wait would help', () => {
  const { scheduler } = setUp([deployment('a', 'd1', { tpm: 1_000 })], true)
  assert.throws(() => scheduler.enqueue(waiting({ promptTokens: 1_500 })), {
    code: 'invalid_request',
  })
})

test('the group wakes for the first breaker to recover, whichever opened first', () => {
  const { scheduler, assigned, release } = setUp([
    deployment('a', 'd1', { cooldownMs: 300_000 }),
    deployment('a', 'd2', { cooldownMs: 5_000 }),
  ])
  const held = [waiting(), waiting()]
  for (const one of held) scheduler.enqueue(one)
  const patient = waiting()
  scheduler.enqueue(patient)
  for (const [id, where] of [...assigned]) {
    if (where === 'd1') release('d1', id, 'upstream_unreachable')
  }
  for (const [id, where] of [...assigned]) {
    if (where === 'd2') release('d2', id, 'upstream_unreachable')
  }
  mock.timers.tick(5_100)
  assert.deepEqual(assigned.at(-1), [patient.request.id, 'd2'])
})

test('a pause that ends while the scheduler looks, at whichever look at the clock, wakes the group', () => {
  for (let lead = 0; lead < 10; lead++) {
    let looks: number | null = null
    // Each look at the clock is a millisecond later than the one before, from `lead` before the end on.
    const now = () => Date.now() + (looks === null ? 0 : Math.min(0, looks++ - lead))
    const { scheduler, assigned, release } = setUp([deployment('a', 'd1')], false, now)
    const [first, patient] = [waiting(), waiting()]
    scheduler.enqueue(first)
    release('d1', first.request.id, 'upstream_unreachable')
    scheduler.enqueue(patient)
    mock.timers.tick(4_999)
    looks = 0
    mock.timers.tick(1)
    mock.timers.tick(100)
    assert.deepEqual(assigned.at(-1), [patient.request.id, 'd1'], `${lead} ms early`)
  }
})

test('who waits too long is told why', () => {
  const { scheduler, ended } = setUp([])
  const one = waiting({ deadline: Date.now() + 1_000 })
  scheduler.enqueue(one)
  mock.timers.tick(900)
  scheduler.expire()
  assert.deepEqual(ended, [[one.request.id, 'no_deployment_available']])
})

test('a head that nobody free can take does not hide another one of its lane', () => {
  const small = deployment('a', 'd1', { slots: 2, maxInputTokens: 1_005 })
  const { scheduler, assigned, release } = setUp([small])
  const running = fits(1, 'x')
  scheduler.enqueue(running)
  const also = fits(1, 'x')
  scheduler.enqueue(also)
  // Both are rounded up to one lane; only the second one fits.
  const tooLong = fits(1_010, 's1')
  const fitting = fits(1_000, 's2')
  const other = { ...waiting(), lane: 'other', sharer: 's3' }
  for (const one of [tooLong, fitting, other]) scheduler.enqueue(one)
  release('d1', running.request.id, null)
  release('d1', also.request.id, null)
  const ids = assigned.slice(2).map(([id]) => id)
  assert.deepEqual(ids.toSorted(), [fitting.request.id, other.request.id].toSorted())
})

test('one who could be served is not forgotten because another of its lane could not', () => {
  const small = deployment('a', 'd1', { slots: 1, maxInputTokens: 1_005 })
  const { scheduler, assigned, release } = setUp([small])
  const running = fits(1, 's2')
  scheduler.enqueue(running)
  const fitting = fits(1_000, 's2')
  const tooLong = fits(1_010, 's1')
  for (const one of [fitting, tooLong]) scheduler.enqueue(one)
  release('d1', running.request.id, null)
  assert.deepEqual(assigned.at(-1), [fitting.request.id, 'd1'])
})

test('with rate limits a retry over them does not hide what its sharer also waits for', () => {
  const limited = deployment('a', 'd1', { slots: 10, tpm: 1_000 })
  const { scheduler, assigned } = setUp([limited], true)
  const big = { ...waiting({ promptTokens: 800 }), sharer: 's' }
  const retry = { ...waiting({ promptTokens: 900 }), sharer: 's', rank: ranks.default - 500 }
  const small = { ...waiting({ promptTokens: 50 }), sharer: 's' }
  for (const one of [big, retry, small]) scheduler.enqueue(one)
  assert.deepEqual(
    assigned.map(([id]) => id),
    [big.request.id, small.request.id],
  )
})

test('a slot whose hand-over failed goes to whoever waits, though its request does not come back', () => {
  const { scheduler, assigned } = setUp([deployment('a', 'd1')])
  const [left, next] = [waiting(), waiting()]
  for (const one of [left, next]) scheduler.enqueue(one)
  scheduler.takeBack(left, 'd1')
  mock.timers.tick(1_000)
  assert.deepEqual(assigned.at(-1), [next.request.id, 'd1'])
})

test('an attempt whose end nobody heard of is settled when the next one takes its place', () => {
  const { scheduler, release } = setUp([deployment('a', 'd1', { slots: 2 })])
  const first = waiting()
  scheduler.enqueue(first)
  const error = new PenstockError('upstream_error', 'x').info
  const line = { deploymentId: 'd1', group: 'a', error, at: Date.now() }
  const again = { ...waiting({ id: first.request.id, history: [line] }), sharer: first.sharer }
  scheduler.enqueue(again)
  // The release of the first attempt was lost; the worker's full reports are to heal that.
  release('d1', first.request.id, null, 1)
  mock.timers.tick(60_000)
  scheduler.onReport({ workerId: 'w', released: [], running: [] })
  assert.equal(scheduler.rooms().get('a')?.shares.idle, true)
  scheduler.expire()
  assert.equal(scheduler.rooms().size, 0)
})

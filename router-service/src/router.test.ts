// The order in which a router hears of things is not the order in which they happen: a job may fail and
// come back before the router knows that it was handed over at all.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { JsMsg } from '@nats-io/jetstream'
import type { Bus } from '@penstock/shared/bus/connect'
import { encodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import { channels, partitionOf } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { AttemptRecord, RequestEnvelope } from '@penstock/shared/contracts/request'
import pino from 'pino'
import { deployment } from './fixtures/deployment.ts'
import type { Held } from './held.ts'
import { createRouter } from './router.ts'
import type { Scheduler } from './scheduler.ts'

const only = deployment('m', 'd1')
const failed: AttemptRecord = {
  deploymentId: 'd1',
  group: 'm',
  error: new PenstockError('upstream_error', 'boom').info,
  at: 0,
}

/** The message that stands for a request after so many failed attempts. */
function messageOf(attempts: number, waitsIn = 'm'): JsMsg {
  const request: RequestEnvelope = {
    ...{ id: 'r1', correlationId: 'c1', operation: 'chat', stream: false, includeUsage: false },
    ...{ requestedModel: 'm', model: 'm', group: 'm', gatewayId: 'g1', replyTo: 'x' },
    ...{ receivedAt: 0, deadline: Number.MAX_SAFE_INTEGER, waitsIn, rank: 0, sharer: 's' },
    ...{ weight: 1, local: false, maxQueueWaitMs: null, promptTokens: 1, maxTokens: null },
    ...{
      prefixes: [],
      tags: [],
      sessionId: null,
      storePrompts: false,
      allowedGroups: null,
      answerLimit: null,
      dialect: 'chat',
      dialectHeaders: {},
      body: { kind: 'inline' },
    },
    history: Array.from({ length: attempts }, () => failed),
    caller: { keyId: null, userId: null, teamId: null, endUser: null },
  }
  return { data: encodeEnvelope(request, Buffer.from('{}')) } as unknown as JsMsg
}

/** A router whose hand-overs are confirmed or refused when the test says so. */
function startRouter(t: TestContext) {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'] })
  const acked: JsMsg[] = []
  const waiting: Held[] = []
  const handOvers: PromiseWithResolvers<void>[] = []
  const published: string[] = []
  const served = new Set(['m'])
  const running = new Set<string>()
  const publish = (subject: string) => {
    published.push(subject)
    const handOver = Promise.withResolvers<void>()
    handOvers.push(handOver)
    return handOver.promise
  }
  const scheduler = {
    enqueue: (one: Held) => waiting.push(one),
    remove(one: Held) {
      const at = waiting.indexOf(one)
      if (at >= 0) waiting.splice(at, 1)
      return at >= 0
    },
    takeBack: () => {},
  }
  const router = createRouter({
    bus: {
      publisher: { publish },
      outbox: { publish() {} },
      isFromBeforeReconnect: () => false,
    } as unknown as Bus,
    acks: { ack: (msg) => acked.push(msg) },
    finished: { note() {} },
    slots: { holds: (id: string) => running.has(id) } as never,
    fleet: {
      inGroup: (group) => (served.has(group) ? [{ ...only, group }] : []),
      isHealthy: () => true,
    },
    policy: () => ({
      ...{ numRetries: 3, retryPolicy: {}, fallbacks: { m: ['n'] }, contextWindowFallbacks: {} },
      ...{ contentPolicyFallbacks: {}, defaultFallbacks: [], enableTagFiltering: false },
      ...{ enablePreCallChecks: false, localGroups: new Set<string>() },
    }),
    scheduler: () => scheduler as unknown as Scheduler,
    tracing: { start: () => null, close: async () => {} },
    log: pino({ level: 'silent' }),
  })
  return {
    acked,
    waiting,
    published,
    served,
    running,
    held: router.held,
    receive: (msg: JsMsg, group = 'm') => router.receive(partitionOf(group), msg),
    assignNext() {
      const next = waiting.shift()
      assert.ok(next !== undefined)
      router.assign(next, only, [])
    },
    async settle(confirmed: boolean) {
      const handOver = handOvers.shift()
      if (confirmed) handOver?.resolve()
      else handOver?.reject(new PenstockError('service_unavailable', 'no confirmation'))
      // What follows are promises only.
      for (let turn = 0; turn < 10; turn++) await null
    },
    pauseIsOver: () => t.mock.timers.tick(60_000),
  }
}

for (const confirmed of [true, false]) {
  const how = confirmed ? 'is confirmed' : 'counts as failed'
  test(`a retry that comes back before its hand-over ${how} is routed again`, async (t) => {
    const { acked, waiting, receive, assignNext, settle, pauseIsOver } = startRouter(t)
    const first = messageOf(0)
    const second = messageOf(1)
    receive(first)
    assignNext()
    receive(second)
    await settle(confirmed)
    assert.deepEqual(acked, [first], 'the first message is done with, the second one is not')
    pauseIsOver()
    assert.equal(waiting[0]?.msg, second)
    assert.equal(waiting.length, 1)

    assignNext()
    await settle(true)
    assert.deepEqual(acked, [first, second])
  })
}

test('a copy of an attempt that is over is acked, and changes nothing', async (t) => {
  const { acked, waiting, receive, assignNext, settle, pauseIsOver } = startRouter(t)
  const second = messageOf(1)
  const copy = messageOf(0)
  receive(second)
  receive(copy)
  assert.deepEqual(acked, [copy])
  pauseIsOver()
  assignNext()
  await settle(true)
  assert.deepEqual(acked, [copy, second])
  assert.equal(waiting.length, 0)
})

test('a second copy of what waits stands for it from then on', async (t) => {
  const { acked, receive, assignNext, settle } = startRouter(t)
  const copy = messageOf(0)
  receive(messageOf(0))
  receive(copy)
  assignNext()
  await settle(true)
  assert.deepEqual(acked, [copy])
})

test('an attempt that ran although its hand-over counted as failed makes way for the next one', async (t) => {
  const { acked, waiting, receive, assignNext, settle, pauseIsOver } = startRouter(t)
  const first = messageOf(0)
  const second = messageOf(1)
  receive(first)
  assignNext()
  await settle(false)
  pauseIsOver()
  assert.equal(waiting[0]?.msg, first, 'it waits for a slot again')
  receive(second)
  assert.deepEqual(acked, [first])
  pauseIsOver()
  assert.deepEqual(
    waiting.map(({ msg }) => msg),
    [second],
  )
})

test('the same while it pauses after the hand-over', async (t) => {
  const { acked, waiting, receive, assignNext, settle, pauseIsOver } = startRouter(t)
  const first = messageOf(0)
  const second = messageOf(1)
  receive(first)
  assignNext()
  await settle(false)
  receive(second)
  assert.deepEqual(acked, [first])
  pauseIsOver()
  assert.deepEqual(
    waiting.map(({ msg }) => msg),
    [second],
  )
})

test('a pause before a retry that outlasts the last worker ends with the fallback', async (t) => {
  const { waiting, published, served, receive, pauseIsOver } = startRouter(t)
  receive(messageOf(1))
  served.delete('m')
  served.add('n')
  pauseIsOver()
  assert.deepEqual([waiting.length, published], [0, [channels.requests.subject(partitionOf('n'))]])
})

test('a fallback that was queued, though that was not confirmed, stays known', async (t) => {
  const { waiting, held, served, receive, settle, pauseIsOver } = startRouter(t)
  served.delete('m')
  served.add('n')
  receive(messageOf(0))
  const moved = messageOf(0, 'n')
  receive(moved, 'n')
  await settle(false)
  assert.equal(held.get('r1')?.msg, moved)
  pauseIsOver()
  assert.deepEqual(
    waiting.map(({ msg }) => msg),
    [moved],
  )
  assert.equal(held.get('r1')?.msg, moved)
})

test('an attempt that a worker names after its hand-over counted as failed is not made again', async (t) => {
  const { acked, waiting, held, running, receive, assignNext, settle, pauseIsOver } = startRouter(t)
  const first = messageOf(0)
  receive(first)
  assignNext()
  await settle(false)
  running.add('r1')
  pauseIsOver()
  assert.deepEqual([waiting.length, held.size, acked], [0, 0, [first]])
})

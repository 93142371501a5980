import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import type { ClaimCheck } from '@penstock/shared/bus/claim-check'
import { encodeFrame, frameKinds } from '@penstock/shared/bus/frame-codec'
import { channels } from '@penstock/shared/contracts/channels'
import { type ErrorInfo, PenstockError } from '@penstock/shared/contracts/errors'
import pino from 'pino'
import { createDispatcher, type Dispatcher } from './dispatch.ts'
import type { NewRequest } from './offer.ts'

const gatewayId = 'g1'
const now = 1_000_000
const claims = { inlineLimit: 1_000_000 } as ClaimCheck
const { data, end, error: failed } = frameKinds
const head = { deploymentId: 'd', group: 'g', retries: 0, fallbacks: 0, upstreamMs: 1 }
const took = { head: null, usage: {}, startedAt: 1, endedAt: 2 }
const { info: interrupted } = new PenstockError('interrupted', 'cut off')

let fake: FakeBus
let dispatcher: Dispatcher
let outcomes: string[]

beforeEach(() => {
  mock.timers.enable({ apis: ['Date', 'setTimeout', 'setInterval'], now })
  fake = createFakeBus()
  dispatcher = createDispatcher(fake.bus, claims, gatewayId, pino({ level: 'silent' }))
  outcomes = []
})
afterEach(() => {
  dispatcher.close()
  mock.timers.reset()
})

const sink = {
  onData: (_head: unknown, bytes: Uint8Array) => outcomes.push(Buffer.from(bytes).toString()),
  onEnd: () => outcomes.push('end'),
  onError: ({ code }: ErrorInfo) => outcomes.push(code),
  onQueued: () => {},
}

function send(fields: Partial<NewRequest> = {}): () => void {
  const request: NewRequest = {
    id: 'r1',
    correlationId: 'c1',
    operation: 'chat',
    stream: true,
    includeUsage: false,
    requestedModel: 'g',
    model: 'g',
    group: 'g',
    receivedAt: now,
    timeoutMs: 60_000,
    caller: { keyId: null, userId: null, teamId: null, endUser: null },
    rank: 1_000,
    sharer: 'nobody',
    weight: 1,
    local: false,
    maxQueueWaitMs: null,
    promptTokens: 1,
    maxTokens: null,
    prefixes: [],
    tags: [],
    sessionId: null,
    storePrompts: false,
    allowedGroups: null,
    answerLimit: null,
    ...fields,
  }
  return dispatcher.send(request, Buffer.from('{}'), sink, null)
}

function receive(
  kind: (typeof frameKinds)[keyof typeof frameKinds],
  attempt: number,
  sequence: number,
  meta: object | null = null,
): void {
  const bytes = Buffer.from(kind === data ? 'text' : '')
  const frame = encodeFrame(kind, attempt, sequence, meta, bytes)
  fake.deliver(channels.frames.subject(gatewayId, 0), frame)
}

/** Lets what was resolved meanwhile run on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a connection that breaks', () => {
  test('the gateway asks for the last frames once more, and its client gets its end', () => {
    send()
    receive(data, 1, 0, head)
    fake.disconnect()
    assert.deepEqual(fake.said(channels.resend.subject()), [])
    fake.reconnect()
    assert.deepEqual(fake.said(channels.resend.subject()), [{ gatewayId }])
    receive(end, 1, 1, took)
    receive(end, 1, 1, took)
    assert.deepEqual(outcomes, ['text', 'end'])
  })

  test('a client that leaves while NATS is away is withdrawn when it is back', () => {
    const cancel = send()
    fake.disconnect()
    cancel()
    fake.reconnect()
    mock.timers.tick(1)
    assert.deepEqual(fake.said(channels.cancel.subject()), [{ requestId: 'r1' }])
  })
})

describe('an attempt that takes over', () => {
  test('may say of a stream that had begun that it will not go on', () => {
    send()
    receive(data, 1, 0, head)
    receive(failed, 2, 0, interrupted)
    assert.deepEqual(outcomes, ['text', 'interrupted'])
  })

  test('can neither go on with the stream nor end it in any other way', () => {
    send()
    receive(data, 2, 0, head)
    receive(failed, 1, 0, interrupted)
    receive(failed, 0, 0, interrupted)
    receive(data, 3, 0, head)
    receive(end, 3, 1, took)
    receive(data, 2, 1)
    assert.deepEqual(outcomes, ['text', 'text'])
  })
})

test('an answer that cannot be passed on is not made to its end', () => {
  const unread = mock.method(sink, 'onData', () => {
    throw new PenstockError('upstream_invalid_response', 'It cannot be translated.')
  })
  send()
  receive(data, 1, 0, head)
  unread.mock.restore()
  assert.deepEqual(outcomes, ['upstream_invalid_response'])
  assert.deepEqual(fake.said(channels.cancel.subject()), [{ requestId: 'r1' }])
})

test('the deadline runs from the moment at which the request came in', () => {
  mock.timers.tick(40_000)
  send({ receivedAt: now, timeoutMs: 60_000 })
  mock.timers.tick(19_999)
  assert.deepEqual(outcomes, [])
  mock.timers.tick(1)
  assert.deepEqual(outcomes, ['deadline_exceeded'])
})

describe('a queue that does not store', () => {
  test('is a problem until it stores again', async () => {
    fake.onStore = () => Promise.reject(new PenstockError('service_unavailable', 'disk full'))
    send()
    await settled()
    assert.match(dispatcher.problems().join(), /^nats: /)
    fake.onStore = () => Promise.resolve()
    send({ id: 'r2' })
    await settled()
    assert.deepEqual(dispatcher.problems(), [])
  })

  test('is no problem of this kind where it is only full, nor when it was long ago', async () => {
    fake.onStore = () => Promise.reject(new PenstockError('queue_full', 'full'))
    send()
    await settled()
    assert.deepEqual(dispatcher.problems(), [])
    fake.onStore = () => Promise.reject(new PenstockError('service_unavailable', 'disk full'))
    const cancel = send({ id: 'r2' })
    await settled()
    assert.equal(dispatcher.problems().length, 1)
    cancel()
    mock.timers.tick(60_000)
    assert.deepEqual(dispatcher.problems(), [])
  })
})

import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import type { ErrorCode } from '@penstock/shared/contracts/errors'
import pino from 'pino'
import { createUpstream, settled, type TestClient, type Upstream } from '../cache/cache-test-kit.ts'
import { createIdempotency, digestOf, type Idempotency } from './idempotency.ts'
import type { IdempotencyRecord, IdempotencyStore } from './idempotency-store.ts'

let upstream: Upstream
let store: IdempotencyStore & { isDown: boolean }
let lost: string[]
let one: Idempotency
let two: Idempotency

beforeEach(() => {
  upstream = createUpstream()
  store = createStore()
  lost = []
  const services = { isLost: (_service: string, id: string) => lost.includes(id) }
  const log = pino({ level: 'silent' })
  one = createIdempotency({ store, gatewayId: 'one', services, log })
  two = createIdempotency({ store, gatewayId: 'two', services, log })
})

function ask(
  gateway: Idempotency,
  name: string,
  { fingerprint = 'f', stream = true } = {},
): TestClient & { leave(): void } {
  const client = upstream.client(name)
  const question = { id: 'k', fingerprint, stream, deadline: Date.now() + 30_000 }
  return { ...client, leave: gateway.run(question, client) }
}

describe('a repeat', () => {
  test('gets the first answer, at another gateway too', async () => {
    const first = ask(one, 'a')
    await settled()
    upstream.say('one ')
    upstream.end('two')
    await first.ended
    for (const gateway of [one, two]) {
      const again = ask(gateway, 'b')
      await again.ended
      assert.deepEqual(again.heard, ['one two', 'end'])
    }
    assert.deepEqual(upstream.runs, ['a'])
  })

  test('waits for a first one that still runs, here and at another gateway', async () => {
    const first = ask(one, 'a', { stream: false })
    const here = ask(one, 'b', { stream: false })
    await settled()
    const there = ask(two, 'c', { stream: false })
    await settled()
    upstream.end('x')
    await Promise.all([first.ended, here.ended, there.ended])
    for (const { heard } of [first, here, there]) assert.deepEqual(heard, ['x', 'end'])
    assert.deepEqual(upstream.runs, ['a'])
  })

  test('gets it although the first client left, whose request goes on', async () => {
    const first = ask(one, 'a')
    await settled()
    upstream.say('one ')
    first.leave()
    const again = ask(one, 'b')
    upstream.end('two')
    await again.ended
    assert.deepEqual([again.heard, first.heard], [['one ', 'two', 'end'], ['one ']])
    assert.deepEqual(upstream.withdrawn, [])
  })

  test('gets it although the first client left before its key was claimed', async () => {
    const first = ask(one, 'a')
    first.leave()
    await settled()
    const again = ask(one, 'b')
    await settled()
    upstream.end('x')
    await again.ended
    assert.deepEqual([again.heard, first.heard, upstream.runs], [['x', 'end'], [], ['a']])
  })

  test('runs where the gateway of the first one is gone, and its answer with it', async () => {
    ask(one, 'a')
    await settled()
    lost.push('one')
    const again = ask(two, 'b')
    await settled()
    upstream.end('x')
    await again.ended
    assert.deepEqual(again.heard, ['x', 'end'])
    assert.deepEqual(upstream.runs, ['a', 'b'])
  })

  test('is refused where the request is another one, or what it was answered is not kept', async () => {
    const first = ask(one, 'a', { stream: false })
    const other = ask(one, 'b', { fingerprint: 'other' })
    await settled()
    upstream.end('x'.repeat(33 * 1024 * 1024))
    await first.ended
    const elsewhere = ask(two, 'c', { fingerprint: 'other' })
    const again = ask(two, 'd', { stream: false })
    await Promise.all([elsewhere.ended, again.ended])
    for (const { heard } of [other, elsewhere, again]) assert.deepEqual(heard, ['conflict'])
    assert.equal(first.heard.at(-1), 'end')
    assert.deepEqual(upstream.runs, ['a'])
  })
})

describe('a failure', () => {
  const cases: [what: string, code: ErrorCode, said: boolean, runsAgain: boolean][] = [
    ['before anything was generated is tried again', 'upstream_unreachable', false, true],
    ['for want of room in the queue is tried again', 'queue_full', false, true],
    ['in the middle of a stream is told again', 'interrupted', true, false],
    ['that may have generated something is told again', 'deadline_exceeded', false, false],
  ]
  for (const [what, code, said, runsAgain] of cases) {
    test(what, async () => {
      const first = ask(one, 'a')
      await settled()
      if (said) upstream.say('one ')
      upstream.fail(code)
      await first.ended
      const again = ask(two, 'b')
      await settled()
      if (runsAgain) upstream.end('x')
      await again.ended
      assert.deepEqual(again.heard, runsAgain ? ['x', 'end'] : said ? ['one ', code] : [code])
      assert.equal(upstream.runs.length, runsAgain ? 2 : 1)
    })
  }
})

test('without its store no request with a key runs', async () => {
  store.isDown = true
  const first = ask(one, 'a')
  await first.ended
  assert.deepEqual([first.heard, upstream.runs], [['service_unavailable'], []])
})

test('a key that was claimed without our hearing so is claimed by the repeat', async () => {
  const { create } = store
  store.create = async (...args) => {
    await create.apply(store, args)
    store.create = create
    throw new Error('timeout')
  }
  const first = ask(one, 'a')
  await first.ended
  const again = ask(one, 'b')
  await settled()
  assert.deepEqual([first.heard, upstream.runs], [['service_unavailable'], ['b']])
  upstream.end('x')
  await again.ended
  assert.deepEqual(again.heard, ['x', 'end'])
})

test('a plain answer that is being kept when its repeat comes is told once', async () => {
  const first = ask(one, 'a', { stream: false })
  await settled()
  const kept = Promise.withResolvers<void>()
  store.putAnswer = () => kept.promise
  upstream.end('x')
  const again = upstream.client('b')
  const told: string[] = []
  const { onData } = again.sink
  again.sink.onData = (...args) => {
    told.push('data')
    onData(...args)
  }
  one.run({ id: 'k', fingerprint: 'f', stream: false, deadline: Date.now() + 30_000 }, again)
  kept.resolve()
  await Promise.all([first.ended, again.ended])
  assert.deepEqual([again.heard, told], [['x', 'end'], []])
})

test('an answer that cannot be kept is given, and not generated twice', async () => {
  const first = ask(one, 'a')
  await settled()
  store.putAnswer = () => Promise.reject(new Error('full'))
  upstream.end('x')
  await first.ended
  const again = ask(one, 'b')
  await again.ended
  assert.deepEqual([first.heard, again.heard], [['x', 'end'], ['conflict']])
})

test('parts of a digest cannot be moved from one into the other', () => {
  assert.notEqual(digestOf('ab', 'c'), digestOf('a', 'bc'))
})

function createStore(): typeof store {
  const records = new Map<string, { record: IdempotencyRecord; revision: number }>()
  const answers = new Map<string, Uint8Array>()
  let revision = 0
  const put = (id: string, record: IdempotencyRecord) => {
    records.set(id, { record, revision: ++revision })
  }
  return {
    isDown: false,
    async create(id, record) {
      if (this.isDown) throw new Error('timeout')
      if (records.has(id)) return false
      put(id, record)
      return true
    },
    get: async (id) => records.get(id) ?? null,
    async update(id, record, since) {
      if (records.get(id)?.revision !== since) return false
      put(id, record)
      return true
    },
    set: async (id, record) => put(id, record),
    async forget(id) {
      records.delete(id)
    },
    async putAnswer(id, answer) {
      answers.set(id, answer)
    },
    getAnswer: async (id) => answers.get(id) ?? null,
  }
}

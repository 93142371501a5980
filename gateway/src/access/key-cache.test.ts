import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import { type KeyFacts, keyLookup } from '@penstock/shared/contracts/access'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import pino from 'pino'
import { keyFactsOf } from '../fixtures/key-facts.ts'
import { createKeyCache, type KeyCache } from './key-cache.ts'
import { createSecret } from './secret.ts'

const minute = 60_000
const hashOf = (name: string) => Buffer.from(name.padEnd(32)).toString('hex')

let fake: FakeBus
let cache: KeyCache
/** Billing: what it knows, at which version; null: it does not answer. */
let billing: { keys: Record<string, KeyFacts>; version: number } | null
/** The hashes that were asked about. */
let asked: string[]

beforeEach(() => {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_000_000 })
  fake = createFakeBus()
  billing = { keys: { [hashOf('a')]: keyFactsOf({ keyId: 'a' }) }, version: 1 }
  asked = []
  fake.onRequest = async (subject, question) => {
    assert.equal(subject, channels.keyLookup.subject())
    const parsed = keyLookup.parse(question)
    const name = 'keyId' in parsed ? parsed.keyId : parsed.secretHash
    asked.push(name)
    if (billing === null) throw new Error('no responders')
    return { facts: billing.keys[name] ?? null, version: billing.version }
  }
  cache = createCache()
})
afterEach(() => {
  cache.close()
  mock.timers.reset()
})

function createCache(maxKeys?: number): KeyCache {
  const log = pino({ level: 'silent' })
  const bound = maxKeys === undefined ? {} : { maxKeys }
  return createKeyCache({ bus: fake.bus, log, secret: createSecret('s'), ...bound })
}

const find = (name: string) => cache.find(hashOf(name))
const idOf = async (name: string) => (await find(name))?.keyId
const hear = (version: number) => fake.deliver(channels.access.subject(), { version })
const isAway = (error: unknown) =>
  error instanceof PenstockError &&
  error.code === 'service_unavailable' &&
  /try again/.test(error.message)

/** Runs what waits for a timer, for at most so many milliseconds. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 250) {
    await new Promise((resolve) => setImmediate(resolve))
    mock.timers.tick(250)
  }
  await new Promise((resolve) => setImmediate(resolve))
}

test('a key is asked about once, however many ask for it at once, and then known at once', async () => {
  assert.deepEqual(await Promise.all([idOf('a'), idOf('a'), idOf('a')]), ['a', 'a', 'a'])
  const known = find('a')
  assert.ok(!(known instanceof Promise))
  assert.equal(known?.keyId, 'a')
  assert.equal(asked.length, 1)
})

test('a key is asked about by its id, too, and remembered by it', async () => {
  billing = { keys: { key_a: keyFactsOf({ keyId: 'key_a' }) }, version: 1 }
  assert.equal((await cache.holder('key_a'))?.keyId, 'key_a')
  assert.equal((await cache.holder('key_a'))?.keyId, 'key_a')
  assert.equal(await cache.holder('key_b'), null)
  assert.deepEqual(asked, ['key_a', 'key_b'])
  hear(2)
  await cache.holder('key_a')
  assert.deepEqual(asked, ['key_a', 'key_b', 'key_a'])
})

test('after a minute it is asked about again', async () => {
  await find('a')
  mock.timers.tick(minute - 1)
  assert.ok(!(find('a') instanceof Promise))
  mock.timers.tick(1)
  assert.ok(find('a') instanceof Promise)
  await find('a')
  assert.equal(asked.length, 2)
})

test('that there is no such key is remembered for ten seconds', async () => {
  assert.equal(await find('b'), null)
  assert.equal(find('b'), null)
  mock.timers.tick(10_000)
  assert.ok(find('b') instanceof Promise)
})

test('all is forgotten when the access version rises, also that a key is none', async () => {
  await find('a')
  await find('b')
  hear(1)
  assert.ok(!(find('a') instanceof Promise))
  billing = { keys: { [hashOf('b')]: keyFactsOf({ keyId: 'b' }) }, version: 2 }
  hear(2)
  assert.equal(await idOf('a'), undefined)
  assert.equal(await idOf('b'), 'b')
})

test('an answer from before a change is used by those who waited, and not remembered', async () => {
  const reading = Promise.withResolvers<void>()
  const { onRequest } = fake
  fake.onRequest = async (subject, question) => {
    const answer = await onRequest(subject, question)
    await reading.promise
    return answer
  }
  const early = idOf('a')
  await new Promise((resolve) => setImmediate(resolve))
  billing = { keys: {}, version: 2 }
  hear(2)
  // Whoever comes after the change does not get the answer from before it.
  const late = idOf('a')
  reading.resolve()
  assert.deepEqual(await Promise.all([early, late]), ['a', undefined])
  assert.equal(find('a'), null)
})

test('an answer that is newer than what was heard makes the others be asked about again', async () => {
  await find('a')
  billing = { keys: {}, version: 2 }
  assert.equal(await find('b'), null)
  assert.equal(await find('a'), null)
})

test('the least lately used one goes where there are too many', async () => {
  cache.close()
  cache = createCache(2)
  billing = { keys: {}, version: 1 }
  for (const name of ['a', 'b', 'c']) billing.keys[hashOf(name)] = keyFactsOf({ keyId: name })
  await find('a')
  await find('b')
  find('a')
  await find('c')
  assert.ok(!(find('a') instanceof Promise))
  assert.ok(!(find('c') instanceof Promise))
  assert.ok(find('b') instanceof Promise)
  await find('b')
})

test('made-up keys cannot pile up questions without end', async () => {
  fake.onRequest = () => Promise.withResolvers<unknown>().promise
  const all = Array.from({ length: 501 }, (_, index) => find(`made up ${index}`))
  await assert.rejects(async () => all[500], isAway)
})

describe('while billing is away', () => {
  test('a key goes on working for five minutes after its minute, without waiting', async () => {
    await find('a')
    billing = null
    mock.timers.tick(minute)
    assert.equal(await idOf('a'), 'a')
    assert.ok(!(find('a') instanceof Promise))
    mock.timers.tick(5 * minute)
    const tooLate = assert.rejects(idOf('a'), isAway)
    await pass(5_000)
    await tooLate
  })

  test('one that is not known is waited for, and refused in the end', async () => {
    billing = null
    const refused = assert.rejects(idOf('a'), isAway)
    await pass(5_000)
    await refused
    assert.ok(asked.length > 1)
  })

  test('one that is not known works as soon as billing is back', async () => {
    const there = billing
    billing = null
    const waiting = idOf('a')
    await pass(1_000)
    billing = there
    await pass(500)
    assert.equal(await waiting, 'a')
  })

  test('a change that was heard of is not undone by it', async () => {
    await find('a')
    hear(2)
    billing = null
    const refused = assert.rejects(idOf('a'), isAway)
    await pass(5_000)
    await refused
  })
})

describe('a connection that broke', () => {
  test('what is known is asked about again when it is back', async () => {
    await find('a')
    fake.disconnect()
    assert.ok(!(find('a') instanceof Promise))
    billing = { keys: {}, version: 2 }
    fake.reconnect()
    assert.equal(await find('a'), null)
  })

  test('what is known goes on working where billing takes longer to be back', async () => {
    await find('a')
    billing = null
    fake.disconnect()
    fake.reconnect()
    assert.equal(await idOf('a'), 'a')
  })
})

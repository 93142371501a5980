import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import type { CacheSettings } from '@penstock/shared/config/cache-settings'
import pino from 'pino'
import { type AnswerCache, createAnswerCache } from './answer-cache.ts'
import { type CacheControl, cacheControlOf } from './cache-control.ts'
import { createUpstream, settled, type TestClient, type Upstream } from './cache-test-kit.ts'

const settings: CacheSettings = {
  type: 'local',
  redisUrl: null,
  ttlMs: 60_000,
  namespace: '',
  operations: ['chat'],
  optIn: false,
  scope: 'team',
  maxEntries: 10,
  maxBytes: 10_000,
  maxEntryBytes: 100,
}

let cache: AnswerCache
let upstream: Upstream

beforeEach(() => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  cache = createAnswerCache({ settings: null, redisUrl: null, log: pino({ level: 'silent' }) })
  upstream = createUpstream()
})
afterEach(() => {
  cache.close()
  mock.timers.reset()
})

interface Asked {
  control?: Parameters<typeof cacheControlOf>[0]
  key?: string
  stream?: boolean
}

async function ask(name: string, asked: Asked = {}): Promise<TestClient & { leave(): void }> {
  const { key = 'k', stream = true } = asked
  const control: CacheControl = cacheControlOf(asked.control, false)
  const client = upstream.client(name)
  const leave = cache.run({ key, control, settings, stream }, client)
  await settled()
  return { ...client, leave }
}

describe('an answer that is there', () => {
  test('is given again, a stream as a stream, without a run', async () => {
    const first = await ask('a')
    upstream.say('one ')
    upstream.say('two')
    upstream.end(' three')
    const again = await ask('b')
    assert.deepEqual(first.heard, ['one ', 'two', ' three', 'end'])
    assert.deepEqual(again.heard, ['one two three', 'end'])
    assert.deepEqual(upstream.runs, ['a'])
  })

  test('is kept for its time, which a request may set, and not renewed by being read', async () => {
    await ask('a', { control: { ttl: 10 } })
    upstream.end('x')
    mock.timers.tick(9_000)
    await ask('b', { control: { ttl: 10 } })
    mock.timers.tick(2_000)
    await ask('c')
    assert.deepEqual(upstream.runs, ['a', 'c'])
  })

  test('is not taken by who wants a younger one, or none', async () => {
    await ask('a')
    upstream.end('x')
    mock.timers.tick(5_000)
    await ask('b', { control: { 's-maxage': 6 } })
    await ask('c', { control: { 's-maxage': 4, 'no-store': true } })
    await ask('d', { control: { 'no-cache': true } })
    assert.deepEqual(upstream.runs, ['a', 'c', 'd'])
  })

  test('is another one for another key', async () => {
    await ask('a')
    upstream.end('x')
    await ask('b', { key: 'other' })
    assert.deepEqual(upstream.runs, ['a', 'b'])
  })
})

describe('what is not kept', () => {
  const cases: [what: string, asked: Asked, ends: (all: Upstream) => void][] = [
    ['a failure', {}, (all) => all.fail('upstream_error')],
    ['an answer too large', {}, (all) => all.end('x'.repeat(101))],
    ['what its client wants not kept', { control: { 'no-store': true } }, (all) => all.end('x')],
    [
      'a stream that broke off',
      {},
      (all) => {
        all.say('x')
        all.fail('interrupted')
      },
    ],
  ]
  for (const [what, asked, ends] of cases) {
    test(what, async () => {
      await ask('a', asked)
      ends(upstream)
      await ask('b', asked)
      assert.deepEqual(upstream.runs, ['a', 'b'])
    })
  }
})

describe('equal requests that wait together', () => {
  test('go upstream once, and whoever comes late hears it from its beginning', async () => {
    const first = await ask('a')
    const second = await ask('b')
    upstream.say('one ')
    const late = await ask('c')
    upstream.end('two')
    assert.deepEqual(upstream.runs, ['a'])
    for (const { heard } of [first, second, late]) assert.deepEqual(heard, ['one ', 'two', 'end'])
  })

  test('share a failure of the upstream', async () => {
    const both = [await ask('a'), await ask('b')]
    upstream.fail('upstream_error')
    assert.deepEqual(upstream.runs, ['a'])
    for (const { heard } of both) assert.deepEqual(heard, ['upstream_error'])
  })

  test('go on when the first one leaves, and are withdrawn when the last one does', async () => {
    const [a, b, c] = [await ask('a'), await ask('b'), await ask('c')]
    a.leave()
    b.leave()
    assert.deepEqual(upstream.withdrawn, [])
    c.leave()
    assert.deepEqual(upstream.withdrawn, ['a'])
    await ask('d')
    assert.deepEqual(upstream.runs, ['a', 'd'], 'nobody joins what was withdrawn')
  })

  test('hand over where the first one is refused for reasons of its own', async () => {
    const [a, b, c] = [await ask('a'), await ask('b'), await ask('c')]
    upstream.fail('rate_limited')
    assert.deepEqual([a.heard, b.heard, c.heard], [['rate_limited'], [], []])
    upstream.end('x')
    assert.deepEqual(upstream.runs, ['a', 'b'])
    assert.deepEqual(
      [b.heard, c.heard],
      [
        ['x', 'end'],
        ['x', 'end'],
      ],
    )
  })

  test('hear it although one of them cannot read it', async () => {
    const [a, b] = [await ask('a'), await ask('b')]
    const unreadable = () => {
      throw new Error('not to be translated')
    }
    const broken = mock.method(a.sink, 'onData', unreadable)
    upstream.say('one ')
    upstream.end('two')
    broken.mock.restore()
    assert.deepEqual([a.heard, b.heard], [['internal_error'], ['one ', 'two', 'end']])
  })

  test('do not when one of them wants nothing of the cache', async () => {
    await ask('a')
    await ask('b', { control: { 'no-cache': true } })
    assert.deepEqual(upstream.runs, ['a', 'b'])
  })
})

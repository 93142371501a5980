// The limits of keys, teams and users: what a gateway counts in its memory and what several count in
// Redis keep the same promises, by one suite and an injected clock.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { Limiter, LimitQuestion, Verdict } from '@penstock/gateway/admission/limits/limiter'
import { createMemoryLimiter } from '@penstock/gateway/admission/limits/memory'
import { openRedisLimiter, type RedisLimiter } from '@penstock/gateway/admission/limits/redis'
import type { Scope } from '@penstock/gateway/admission/limits/scope'
import { startRedis } from '@penstock/infra/servers/redis'
import type { RateLimits } from '@penstock/shared/contracts/access'
import { Redis } from 'ioredis'
import { eventually } from '../harness/eventually.ts'
import { restartable, silent } from '../harness/servers.ts'

const minute = 60_000
let clock = 0
let count = 0

beforeEach(() => {
  // Somewhere inside a slot.
  clock = 1_700_000_000_123
})

function scopeOf(limits: Partial<RateLimits>, id = `key:${count++}`): Scope {
  const all = { rpm: null, tpm: null, maxParallel: null, ...limits }
  return { id, kind: 'key', owner: 'k', model: '', limits: all }
}

function take(limiter: Limiter, scopes: Scope[], changes: Partial<LimitQuestion> = {}) {
  const question = { requestId: `r${count++}`, scopes, tokens: 0, lastsMs: minute, ...changes }
  return Promise.resolve(limiter.take(question))
}

/** What the limiter says, for a table: `ok`, or the kind that refuses. */
const word = ({ refusal }: Verdict) => refusal?.kind ?? 'ok'

/** Reproducible: the same numbers in each run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function suite(limiterOf: () => Limiter): void {
  test('no minute holds more requests than the limit, and each wait is as computed', async () => {
    const limiter = limiterOf()
    const scope = scopeOf({ rpm: 7 })
    const next = random(7)
    const granted: number[] = []
    for (let step = 0; step < 250; step++) {
      clock += Math.floor(next() ** 4 * 20_000)
      const verdict = await take(limiter, [scope])
      if (verdict.refusal === null) {
        granted.push(clock)
        continue
      }
      const wait = verdict.refusal.retryAfterMs ?? 0
      assert.ok(wait > 0 && wait <= minute + 500, String(wait))
      if (next() > 0.2) continue
      clock += wait - 1
      assert.equal(word(await take(limiter, [scope])), 'requests')
      clock += 1
      assert.equal(word(await take(limiter, [scope])), 'ok')
      granted.push(clock)
    }
    for (const [index, at] of granted.entries()) {
      const within = granted.slice(index).filter((one) => one <= at + minute)
      assert.ok(within.length <= 7, `${within.length} from ${at}`)
    }
    assert.ok(granted.length > 50)
  })

  test('a request that one scope refuses costs nothing in the others', async () => {
    const limiter = limiterOf()
    const wide = scopeOf({ rpm: 2, tpm: 100, maxParallel: 1 })
    const narrow = scopeOf({ rpm: 1 })
    await take(limiter, [narrow])
    for (let burst = 0; burst < 5; burst++) {
      const { refusal } = await take(limiter, [wide, narrow], { tokens: 60 })
      assert.equal(refusal?.scope.id, narrow.id)
    }
    const verdict = await take(limiter, [wide], { tokens: 60 })
    assert.equal(word(verdict), 'ok')
    assert.equal(verdict.standing.requests?.remaining, 1)
    assert.equal(verdict.standing.tokens?.remaining, 40)
  })

  test('of several refusals the longest wait is told', async () => {
    const limiter = limiterOf()
    const early = scopeOf({ rpm: 1 })
    const late = scopeOf({ rpm: 1 })
    await take(limiter, [early])
    clock += 20_000
    await take(limiter, [late])
    const { refusal } = await take(limiter, [early, late])
    assert.equal(refusal?.scope.id, late.id)
    clock += refusal?.retryAfterMs ?? 0
    assert.equal(word(await take(limiter, [early, late])), 'ok')
  })

  test('tokens count as estimated until the request says what it took', async () => {
    const limiter = limiterOf()
    const scope = scopeOf({ tpm: 100 })
    const first = await take(limiter, [scope], { tokens: 60 })
    assert.equal(word(await take(limiter, [scope], { tokens: 41 })), 'tokens')
    first.settle(10)
    const second = await take(limiter, [scope], { tokens: 41 })
    assert.equal(second.standing.tokens?.remaining, 49)
    // What is generated counts from when it is generated.
    clock += 30_000
    second.settle(90)
    const { refusal } = await take(limiter, [scope], { tokens: 1 })
    const wait = refusal?.retryAfterMs ?? 0
    assert.ok(wait > 29_000 && wait <= 30_500, String(wait))
    clock += wait
    const third = await take(limiter, [scope], { tokens: 1 })
    assert.equal(third.standing.tokens?.remaining, 50)
    third.settle(null)
    clock += minute + 500
    assert.equal((await take(limiter, [scope])).standing.tokens?.remaining, 100)
  })

  test('a request that is undone is as if it had never come', async () => {
    const limiter = limiterOf()
    const scope = scopeOf({ rpm: 1, tpm: 10, maxParallel: 1 })
    const first = await take(limiter, [scope], { tokens: 10 })
    assert.notEqual(word(await take(limiter, [scope], { tokens: 10 })), 'ok')
    first.undo()
    assert.equal(word(await take(limiter, [scope], { tokens: 10 })), 'ok')
  })

  test('a prompt above the whole limit is told that no wait helps', async () => {
    const scope = scopeOf({ tpm: 100 })
    const { refusal } = await take(limiterOf(), [scope], { tokens: 101 })
    assert.deepEqual([refusal?.kind, refusal?.retryAfterMs], ['tokens', null])
  })

  test('what runs at once is bounded, asked twice is once, and a lost lease expires', async () => {
    const limiter = limiterOf()
    const scope = scopeOf({ maxParallel: 2 })
    const first = await take(limiter, [scope], { requestId: 'a' })
    await take(limiter, [scope], { requestId: 'b' })
    assert.equal(word(await take(limiter, [scope], { requestId: 'b' })), 'ok')
    assert.equal(word(await take(limiter, [scope], { requestId: 'c' })), 'parallel')
    first.settle(null)
    assert.equal(word(await take(limiter, [scope], { requestId: 'c' })), 'ok')
    assert.equal(word(await take(limiter, [scope], { requestId: 'd' })), 'parallel')
    clock += minute
    assert.equal(word(await take(limiter, [scope], { requestId: 'd' })), 'ok')
  })

  test('the standing is that of the narrowest scope, with the time until all is free', async () => {
    const scopes = [scopeOf({ rpm: 10 }), scopeOf({ rpm: 3 }), scopeOf({ tpm: 50 })]
    const limiter = limiterOf()
    await take(limiter, scopes, { tokens: 5 })
    clock += 10_000
    const { standing } = await take(limiter, scopes, { tokens: 5 })
    assert.deepEqual([standing.requests?.limit, standing.requests?.remaining], [3, 1])
    assert.deepEqual([standing.tokens?.limit, standing.tokens?.remaining], [50, 40])
    const reset = standing.requests?.resetMs ?? 0
    assert.ok(reset > minute && reset <= minute + 500)
  })
}

describe('in memory', () => {
  const limiter = createMemoryLimiter(() => clock)
  after(() => limiter.close())
  suite(() => limiter)
})

describe('in Redis', () => {
  let directory: string
  let server: Awaited<ReturnType<typeof restartable>>
  let policy: 'refuse' | 'local'
  const opened: RedisLimiter[] = []
  let limiter: RedisLimiter
  let admin: Redis

  const open = async () => {
    const local = createMemoryLimiter(() => clock)
    const options = { url: server.url, policy: () => policy, local, log: silent }
    const one = await openRedisLimiter({ ...options, now: () => clock })
    opened.push(one)
    return one
  }
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'penstock-limiter-'))
    server = await restartable(startRedis, directory)
    policy = 'refuse'
    limiter = await open()
    admin = new Redis(server.url)
    admin.on('error', () => {})
  })
  after(async () => {
    admin.disconnect()
    for (const one of opened) await one.close()
    await server.stop()
    await rm(directory, { recursive: true })
  })

  suite(() => limiter)

  test('several gateways together let exactly the limit through', async () => {
    const both = [limiter, await open()]
    const scope = scopeOf({ rpm: 37, maxParallel: 1_000 })
    const asked = Array.from({ length: 120 }, (_, index) =>
      take(both[index % 2] ?? limiter, [scope]),
    )
    const words = (await Promise.all(asked)).map(word)
    assert.equal(words.filter((one) => one === 'ok').length, 37)
  })

  test('leases are held as long as their requests run, and no longer than their gateway', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const holder = await open()
    const scope = scopeOf({ maxParallel: 1 })
    await take(holder, [scope], { requestId: 'long', lastsMs: 2 * minute })
    for (let renewed = 0; renewed < 6; renewed++) {
      clock += 10_000
      t.mock.timers.tick(10_000)
      // Behind the renewal, on the same connection.
      await take(holder, [scopeOf({ rpm: 1 })])
    }
    assert.equal(word(await take(limiter, [scope])), 'parallel')
    await holder.close()
    clock += 29_000
    assert.equal(word(await take(limiter, [scope])), 'parallel')
    clock += 1_000
    assert.equal(word(await take(limiter, [scope])), 'ok')
  })

  test('a lease that is never given back ends with the time that its request had', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const holder = await open()
    const scope = scopeOf({ maxParallel: 1 })
    await take(holder, [scope], { requestId: 'stuck', lastsMs: 20_000 })
    for (let renewed = 0; renewed < 5; renewed++) {
      clock += 10_000
      t.mock.timers.tick(10_000)
      await take(holder, [scopeOf({ rpm: 1 })])
    }
    assert.equal(word(await take(limiter, [scope])), 'ok')
  })

  test('what was refused because its answer was late is not counted, and holds nothing', async () => {
    const scope = scopeOf({ rpm: 2, maxParallel: 1 })
    await admin.call('CLIENT', 'PAUSE', 400, 'ALL')
    await assert.rejects(take(limiter, [scope]), { code: 'service_unavailable' })
    await eventually('Redis answers', () => limiter.up)
    const verdict = await take(limiter, [scope])
    assert.equal(word(verdict), 'ok')
    assert.equal(verdict.standing.requests?.remaining, 1)
    verdict.undo()
  })

  test('a lease that could not be given back is, as soon as Redis is there again', async () => {
    const scope = scopeOf({ maxParallel: 1 })
    const verdict = await take(limiter, [scope])
    await server.kill()
    await eventually('the loss is seen', () => !limiter.up)
    verdict.settle(null)
    await server.start()
    await eventually('Redis is back', () => limiter.up)
    assert.equal(word(await take(limiter, [scope])), 'ok')
  })

  test('a gateway that stood still itself does not take Redis for lost', async () => {
    const scope = scopeOf({ rpm: 1 })
    const asked = take(limiter, [scope])
    // The command leaves with the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve))
    const until = performance.now() + 400
    while (performance.now() < until);
    assert.equal(word(await asked), 'ok')
    assert.equal(limiter.up, true)
  })

  test('without it requests are refused or counted here, and it is taken up again', async () => {
    const scope = scopeOf({ rpm: 2 })
    await take(limiter, [scope])
    await server.kill()
    await eventually('the loss is seen', () => !limiter.up)
    await assert.rejects(async () => take(limiter, [scope]), { code: 'service_unavailable' })
    assert.match(limiter.problems().join(), /^redis: /)
    policy = 'local'
    assert.deepEqual(limiter.problems(), [])
    const words = [await take(limiter, [scope]), await take(limiter, [scope])].map(word)
    assert.deepEqual(words, ['ok', 'ok'])
    assert.equal(word(await take(limiter, [scope])), 'requests')
    assert.ok(limiter.decidedWithout >= 4)
    await server.start()
    await eventually('Redis is back', () => limiter.up)
    policy = 'refuse'
    // It was killed, but what it had counted it had written.
    const after = [await take(limiter, [scope]), await take(limiter, [scope])].map(word)
    assert.deepEqual(after, ['ok', 'requests'])
  })
})

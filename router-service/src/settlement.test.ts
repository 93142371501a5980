import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { deployment } from './fixtures/deployment.ts'
import { createBreakers } from './health/breaker.ts'
import { createRateLimits } from './health/rate-limits.ts'
import { createStats } from './health/stats.ts'
import { createSettlement } from './settlement.ts'

const info = deployment('a', 'd1', { tpm: 1_000 })
const waiter = { rank: 0, sharer: 's', weight: 1, lane: '', enqueuedAt: 0 }
const attempt = (hop: number) => ({ requestId: 'r', hop, deploymentId: info.id })

function setUp() {
  const clock = { now: 0 }
  const now = () => clock.now
  const breakers = createBreakers({ allowedFails: 0, cooldownMs: 5_000 }, now)
  const rates = createRateLimits(now)
  const settlement = createSettlement({
    ...{ stats: createStats(now), breakers, rates, enforceRates: () => true },
    ...{ infoOf: () => info, sharesOf: () => undefined },
  })
  return { clock, breakers, rates, settlement }
}

test('an attempt that ends after its successor began leaves the tokens that one holds', () => {
  const { rates, settlement } = setUp()
  for (const hop of [0, 1]) settlement.begin(attempt(hop), waiter, 'a', 100)
  settlement.end(attempt(0), null, 20_000)
  const outcome = { error: null, ms: 10, ttftMs: null, promptTokens: 100, completionTokens: 800 }
  settlement.end(attempt(1), outcome, 10)
  assert.equal(rates.allows(info, 100), false)
})

test('an attempt that ends after its successor began is not the probe that one is', () => {
  const { clock, breakers, settlement } = setUp()
  const unreachable = new PenstockError('upstream_unreachable', 'x').info
  settlement.begin(attempt(0), waiter, 'a', 100)
  breakers.onFailure(info.id, 'other', unreachable, null)
  clock.now = 5_000
  settlement.begin(attempt(1), waiter, 'a', 100)
  settlement.end(attempt(0), null, 5_000)
  assert.equal(breakers.allows(info.id), false, 'a second probe would run beside the first')
})

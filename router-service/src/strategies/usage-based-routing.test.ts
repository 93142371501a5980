import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { candidate, chosen, tally, unknownFacts } from './fixtures/candidates.ts'
import { usageBasedRoutingV2 as strategy, usageBasedRouting } from './usage-based-routing.ts'

const used = (tokensLastMinute: number, requestsLastMinute = 1) => ({
  tokensLastMinute,
  requestsLastMinute,
})

test('the lowest share of tpm is chosen, not the lowest number', () => {
  const big = candidate('big', { tpm: 100_000, stats: used(5_000) })
  const small = candidate('small', { tpm: 10_000, stats: used(1_000) })
  assert.equal(chosen(strategy, [small, big]), 'big')
  assert.equal(chosen(usageBasedRouting, [small, big]), 'big')
})

test('where not all have a tpm, plain token counts are compared', () => {
  const limited = candidate('limited', { tpm: 10_000, stats: used(1_000) })
  const open = candidate('open', { stats: used(2_000) })
  assert.equal(chosen(strategy, [open, limited]), 'limited')
})

test('equal tokens leave it to the share of rpm, equal shares of that to chance', () => {
  const a = candidate('a', { rpm: 10, stats: used(100, 5) })
  const b = candidate('b', { rpm: 100, stats: used(100, 5) })
  assert.equal(chosen(strategy, [a, b]), 'b')
  const equal = [candidate('a'), candidate('b')]
  assert.deepEqual(
    tally(strategy, equal, 100, (round) => round / 100),
    { a: 50, b: 50 },
  )
})

test('one that would go over its tpm or rpm comes after those that would not', () => {
  const tokens = candidate('tokens', { tpm: 1_000, stats: used(950) })
  const requests = candidate('requests', { rpm: 3, stats: used(10, 3) })
  const other = candidate('other', { stats: used(50_000) })
  const facts = { promptTokens: 51, maxTokens: null }
  assert.equal(chosen(strategy, [tokens, requests, other], facts), 'other')
  assert.equal(chosen(strategy, [tokens, other], { ...facts, promptTokens: 50 }), 'tokens')
})

test('where all would go over, the least used is still taken', () => {
  const free = [
    candidate('a', { tpm: 1_000, stats: used(2_000) }),
    candidate('b', { tpm: 1_000, stats: used(1_500) }),
  ]
  const choice = strategy.choose(free, unknownFacts, () => 0)
  assert.equal(
    choice?.reason,
    'usage-based-routing-v2: b, tpm 1500 of 1000, rpm 1 of any, all over their limits',
  )
})

test('a burst spreads by tpm before any of its calls has ended', () => {
  const big = candidate('big', { slots: 64, tpm: 300_000 })
  const small = candidate('small', { slots: 64, tpm: 100_000 })
  const random = seeded(5)
  for (let i = 0; i < 40; i++) {
    const choice = strategy.choose([small, big], unknownFacts, random)
    if (choice !== null) choice.candidate.inUse++
  }
  assert.deepEqual([big.inUse, small.inUse], [30, 10])
})

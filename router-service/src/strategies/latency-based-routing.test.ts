import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { createStats } from '../health/stats.ts'
import { candidate, chosen, tally, unknownFacts } from './fixtures/candidates.ts'
import { latencyBasedRouting as strategy } from './latency-based-routing.ts'

const measured = (id: string, ttftMs: number, msPerToken: number, inUse = 0) =>
  candidate(id, { inUse, stats: { ttftMs, msPerToken, samples: 1 } })

test('the one that should be done soonest is chosen: first token and generation together', () => {
  const quickStart = measured('quick start', 100, 50)
  const quickRun = measured('quick run', 1_000, 10)
  const free = [quickStart, quickRun]
  // 256 tokens: 12,900 ms against 3,560 ms.
  assert.equal(chosen(strategy, free), 'quick run')
  // 5 tokens: 350 ms against 1,050 ms.
  assert.equal(chosen(strategy, free, { promptTokens: null, maxTokens: 5 }), 'quick start')
})

test('a huge max_tokens is not taken for the length of the answer', () => {
  const free = [measured('a', 100, 12), measured('b', 3_000, 10)]
  assert.equal(chosen(strategy, free, { promptTokens: null, maxTokens: 100_000 }), 'a')
})

test('where only one of the two times is known, that one is compared', () => {
  const embeddings = [
    candidate('slow', { stats: { ttftMs: 50 } }),
    candidate('fast', { stats: { ttftMs: 10 } }),
  ]
  assert.equal(chosen(strategy, embeddings), 'fast')
})

test('a few percent apart is equal: the load is shared at random', () => {
  const free = [measured('a', 1_000, 0), measured('b', 1_040, 0), measured('c', 1_060, 0)]
  // Above the exploration share, in equal steps.
  const counts = tally(strategy, free, 100, (round) => 0.5 + (round % 2) * 0.25)
  assert.deepEqual(counts, { b: 100 })
  const low = tally(strategy, free, 100, (round) => (round % 2 === 0 ? 0.1 : 0.9))
  assert.deepEqual(low, { a: 50, b: 50 })
})

test('one that is not measured yet is tried, with one call at a time', () => {
  const known = measured('known', 1, 0)
  assert.equal(chosen(strategy, [known, candidate('new')]), 'new')
  assert.equal(chosen(strategy, [known, candidate('new', { inUse: 1 })]), 'known')
})

test('a burst reaches a newcomer with one call only until it is measured', () => {
  const known = candidate('known', { slots: 64, stats: { ttftMs: 100 } })
  const newcomer = candidate('new', { slots: 64 })
  const random = seeded(3)
  for (let i = 0; i < 50; i++) {
    const choice = strategy.choose([known, newcomer], unknownFacts, random)
    if (choice !== null) choice.candidate.inUse++
  }
  assert.deepEqual([known.inUse, newcomer.inUse], [49, 1])
})

test('no request waits beside the free slot of a newcomer', () => {
  const free = [candidate('a', { inUse: 2 }), candidate('b', { inUse: 1 })]
  assert.equal(chosen(strategy, free), 'b')
})

test('two in a hundred explore a slower one', () => {
  const free = [measured('fast', 100, 0), measured('slow', 900, 0)]
  const counts = tally(strategy, free, 1_000, (round) => round / 1_000)
  assert.deepEqual(counts, { slow: 20, fast: 980 })
})

test('one whose figures are forgotten is tried again', () => {
  let now = 0
  const stats = createStats(() => now)
  const answer = { ok: true, ttftMs: null, promptTokens: 1, completionTokens: 0 }
  stats.record('slow', { ...answer, ms: 900 })
  now = 900_000
  stats.record('fast', { ...answer, ms: 100 })
  const free = ['fast', 'slow'].map((id) => candidate(id, { stats: stats.of(id) }))
  assert.equal(chosen(strategy, free), 'slow')
})

test('the reason names the times that decided', () => {
  const free = [measured('a', 100, 1), measured('b', 900, 1)]
  const choice = strategy.choose(free, unknownFacts, () => 0.5)
  const expected = 'latency-based-routing: a, 356 ms expected, best 356 ms, 1 as near'
  assert.equal(choice?.reason, expected)
})

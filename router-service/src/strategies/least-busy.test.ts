import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { candidate, chosen, tally, unknownFacts } from './fixtures/candidates.ts'
import { leastBusy } from './least-busy.ts'

test('shares of slots are compared, not counts', () => {
  const big = candidate('big', { inUse: 4, slots: 64 })
  const small = candidate('small', { inUse: 1, slots: 2 })
  assert.equal(chosen(leastBusy, [small, big]), 'big')
})

test('equals share the load at random', () => {
  const free = [candidate('a'), candidate('b'), candidate('busy', { inUse: 1 })]
  const counts = tally(leastBusy, free, 1_000, (round) => round / 1_000)
  assert.deepEqual(counts, { a: 500, b: 500 })
})

test('handed over one by one, calls fill slots in proportion to their number', () => {
  const free = [candidate('big', { slots: 30 }), candidate('small', { slots: 10 })]
  const random = seeded(1)
  for (let i = 0; i < 20; i++) {
    const choice = leastBusy.choose(free, unknownFacts, random)
    if (choice !== null) choice.candidate.inUse++
  }
  assert.deepEqual(
    free.map(({ inUse }) => inUse),
    [15, 5],
  )
})

test('the reason names the load', () => {
  const choice = leastBusy.choose([candidate('a', { inUse: 1 })], unknownFacts, () => 0)
  assert.equal(choice?.reason, 'least-busy: a, 1 of 4 slots in use')
})

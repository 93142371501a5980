import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { createRateLimits } from './rate-limits.ts'

function setUp(rpm: number | null, tpm: number | null) {
  const clock = { now: 500 }
  const limits = createRateLimits(() => clock.now)
  return { clock, limits, info: { id: 'd', rpm, tpm } }
}

test('as many calls start as rpm says, and the next when the first is a minute old', () => {
  const { clock, limits, info } = setUp(2, null)
  limits.onStart('d', 'a', 0)
  clock.now = 10_000
  limits.onStart('d', 'b', 0)
  assert.equal(limits.allows(info, 0), false)
  assert.equal(limits.freeAt(info, 0), 61_000)
  clock.now = 60_999
  assert.equal(limits.allows(info, 0), false)
  clock.now = 61_000
  assert.equal(limits.allows(info, 0), true)
  assert.equal(limits.freeAt(info, 0), 61_000)
})

test('the end of a call frees no rpm', () => {
  const { limits, info } = setUp(1, null)
  limits.onStart('d', 'a', 10)
  limits.onEnd('d', 'a', 0)
  assert.equal(limits.allows(info, 0), false)
})

test('prompts are held against tpm', () => {
  const { limits, info } = setUp(null, 100)
  limits.onStart('d', 'a', 60)
  assert.equal(limits.allows(info, 40), true)
  assert.equal(limits.allows(info, 41), false)
  assert.equal(limits.freeAt(info, 41), 61_000)
})

test('the real use takes the place of the hold: less is free at once', () => {
  const { limits, info } = setUp(null, 100)
  limits.onStart('d', 'a', 80)
  limits.onEnd('d', 'a', 30)
  assert.equal(limits.allows(info, 70), true)
  assert.equal(limits.allows(info, 71), false)
})

test('what was used beyond the hold counts from the end of the call', () => {
  const { clock, limits, info } = setUp(null, 100)
  limits.onStart('d', 'a', 20)
  clock.now = 50_000
  limits.onEnd('d', 'a', 90)
  assert.equal(limits.allows(info, 11), false)
  assert.equal(limits.freeAt(info, 30), 61_000)
  assert.equal(limits.freeAt(info, 31), 111_000)
})

test('a use that nobody knows leaves the hold, and no end is counted twice', () => {
  const { limits, info } = setUp(null, 100)
  limits.onStart('d', 'a', 60)
  limits.onEnd('d', 'a', null)
  limits.onEnd('d', 'a', 0)
  limits.onEnd('d', 'never started', 1_000)
  assert.equal(limits.allows(info, 40), true)
  assert.equal(limits.allows(info, 41), false)
})

test('a hold that has left the window is not given back', () => {
  const { clock, limits, info } = setUp(null, 100)
  limits.onStart('d', 'a', 80)
  clock.now = 100_000
  limits.onStart('d', 'b', 50)
  limits.onEnd('d', 'a', 10)
  assert.equal(limits.allows(info, 51), false)
  assert.equal(limits.allows(info, 50), true)
})

test('a prompt larger than tpm is never free, a deployment without limits always', () => {
  const { clock, limits, info } = setUp(null, 100)
  assert.equal(limits.freeAt(info, 101), null)
  assert.equal(limits.allows(info, 101), false)
  const open = { id: 'd', rpm: null, tpm: null }
  for (let i = 0; i < 1_000; i++) limits.onStart('d', `${i}`, 1_000)
  assert.equal(limits.allows(open, 1_000_000), true)
  assert.equal(limits.freeAt(open, 1_000_000), clock.now)
})

test('deployments do not share limits, and those that are gone are forgotten', () => {
  const { limits, info } = setUp(1, null)
  limits.onStart('d', 'a', 0)
  assert.equal(limits.allows({ ...info, id: 'other' }, 0), true)
  limits.forget(new Set(['d']))
  assert.equal(limits.allows(info, 0), false)
  limits.forget(new Set())
  assert.equal(limits.allows(info, 0), true)
})

for (let seed = 1; seed <= 10; seed++) {
  test(`no window of 60 s ever exceeds rpm or tpm (seed ${seed})`, () => {
    const random = seeded(seed)
    const { clock, limits, info } = setUp(20, 3_000)
    const starts: { at: number; tokens: number }[] = []
    for (let i = 0; i < 4_000; i++) {
      clock.now += Math.floor(random() ** 3 * 5_000)
      const tokens = Math.floor(random() * 400)
      const freeAt = limits.freeAt(info, tokens)
      assert.ok(freeAt !== null)
      assert.equal(limits.allows(info, tokens), freeAt === clock.now)
      // Sometimes straight to the first moment it may start, where an error would show.
      if (freeAt > clock.now && random() < 0.2) clock.now = freeAt
      if (!limits.allows(info, tokens)) continue
      limits.onStart('d', `${i}`, tokens)
      starts.push({ at: clock.now, tokens })
    }
    assert.ok(starts.length > 500)
    let first = 0
    let held = 0
    let busiest = 0
    for (const [last, { at, tokens }] of starts.entries()) {
      held += tokens
      for (let old = starts[first]; old !== undefined && at - old.at >= 60_000; ) {
        held -= old.tokens
        first++
        old = starts[first]
      }
      const calls = last - first + 1
      assert.ok(calls <= 20 && held <= 3_000, `${calls} calls, ${held} tokens`)
      busiest = Math.max(busiest, calls)
    }
    assert.ok(busiest >= 18, `never busy: ${busiest}`)
  })
}

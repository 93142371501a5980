import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { createSlidingMinute } from './sliding-minute.ts'

test('what is added counts for 60 s and for less than 61 s', () => {
  let now = 10_700
  const minute = createSlidingMinute(() => now)
  minute.add(5)
  now = 70_700
  assert.equal(minute.total(), 5)
  now = 70_999
  assert.equal(minute.total(), 5)
  now = 71_000
  assert.equal(minute.total(), 0)
})

test('the window slides: nothing is forgotten at a full minute', () => {
  let now = 59_000
  const minute = createSlidingMinute(() => now)
  minute.add(3)
  now = 60_500
  minute.add(4)
  assert.equal(minute.total(), 7)
})

test('a pause of any length empties it', () => {
  let now = 0
  const minute = createSlidingMinute(() => now)
  for (now = 0; now < 61_000; now += 500) minute.add(1)
  now = 10_000_000_123
  assert.equal(minute.total(), 0)
})

test('a correction counts where its mark is, and no longer than that', () => {
  let now = 0
  const minute = createSlidingMinute(() => now)
  const mark = minute.add(100)
  now = 30_000
  minute.correct(mark, -60)
  assert.equal(minute.total(), 40)
  now = 61_000
  assert.equal(minute.total(), 0)
  minute.correct(mark, -40)
  assert.equal(minute.total(), 0)
})

test('fallsTo names the first moment at which the total is low enough', () => {
  let now = 0
  const minute = createSlidingMinute(() => now)
  minute.add(10)
  now = 5_000
  minute.add(10)
  assert.equal(minute.fallsTo(20), 5_000)
  assert.equal(minute.fallsTo(19), 61_000)
  assert.equal(minute.fallsTo(10), 61_000)
  assert.equal(minute.fallsTo(9), 66_000)
  assert.equal(minute.fallsTo(0), 66_000)
})

test('a clock that steps back loses and breaks nothing', () => {
  let now = 100_000
  const minute = createSlidingMinute(() => now)
  minute.add(1)
  now = 20_000
  minute.add(1)
  assert.equal(minute.total(), 2)
  now = 160_999
  assert.equal(minute.total(), 2)
  now = 161_000
  assert.equal(minute.total(), 0)
})

test('it agrees with a log of every event, whatever the sequence', () => {
  const random = seeded(21)
  let now = 1_000_000
  const minute = createSlidingMinute(() => now)
  let log: { at: number; amount: number }[] = []
  for (let i = 0; i < 5_000; i++) {
    now += Math.floor(random() ** 4 * 20_000)
    const amount = Math.floor(random() * 100)
    minute.add(amount)
    log.push({ at: now, amount })
    log = log.filter(({ at }) => Math.floor(now / 1_000) - Math.floor(at / 1_000) <= 60)
    const sum = log.reduce((total, one) => total + one.amount, 0)
    assert.equal(minute.total(), sum)
    const limit = Math.floor(random() * (sum + 10))
    const at = minute.fallsTo(limit)
    const left = (time: number) =>
      log
        .filter((one) => Math.floor(time / 1_000) - Math.floor(one.at / 1_000) <= 60)
        .reduce((total, one) => total + one.amount, 0)
    assert.ok(left(at) <= limit)
    assert.ok(at === now || left(at - 1) > limit)
  }
})

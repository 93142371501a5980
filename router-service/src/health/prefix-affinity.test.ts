import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { createPrefixMemory } from './prefix-affinity.ts'

/** Stands for the hashes of a conversation: h1..hn of its messages. */
const prefixesOf = (...messages: string[]) =>
  messages.map((_, index) => messages.slice(0, index + 1).join('/'))

function setUp(maxEntries = 1_000) {
  const clock = { now: 0 }
  const memory = createPrefixMemory(() => clock.now, { maxEntries, ttlMs: 60_000 })
  return { clock, memory }
}

test('a conversation matches as far as the deployment has served it', () => {
  const { memory } = setUp()
  memory.remember(prefixesOf('system', 'a', 'b'), 'd1')
  memory.remember(prefixesOf('system'), 'd2')
  const longer = prefixesOf('system', 'a', 'b', 'c', 'd')
  assert.deepEqual([memory.match(longer, 'd1'), memory.match(longer, 'd2')], [3, 1])
  assert.equal(memory.match(longer, 'd3'), 0)
  assert.equal(memory.match(prefixesOf('system', 'x', 'b'), 'd1'), 1)
  assert.equal(memory.match(prefixesOf('other', 'a', 'b'), 'd1'), 0)
  assert.equal(memory.match([], 'd1'), 0)
})

test('one pass gives the same for all deployments', () => {
  const { memory } = setUp()
  memory.remember(prefixesOf('system', 'a', 'b'), 'd1')
  memory.remember(prefixesOf('system'), 'd2')
  const found = memory.matches(prefixesOf('system', 'a', 'b', 'c'))
  assert.deepEqual(Object.fromEntries(found), { d1: 3, d2: 1 })
})

test('what was served too long ago does not match, unless it was served again', () => {
  const { clock, memory } = setUp()
  const talk = prefixesOf('system', 'a')
  memory.remember(talk, 'd1')
  memory.remember(talk, 'd2')
  clock.now = 59_999
  memory.remember(talk, 'd2')
  clock.now = 60_000
  assert.deepEqual([memory.match(talk, 'd1'), memory.match(talk, 'd2')], [0, 2])
  assert.deepEqual([...memory.matches(talk)], [['d2', 2]])
})

test('the least recently served conversation is forgotten first, its shared start last', () => {
  const { memory } = setUp(5)
  memory.remember(prefixesOf('system', 'a', 'a2'), 'd')
  memory.remember(prefixesOf('system', 'b', 'b2'), 'd')
  assert.equal(memory.size, 5)
  memory.remember(prefixesOf('system', 'c'), 'd')
  assert.equal(memory.match(prefixesOf('system', 'a', 'a2'), 'd'), 2)
  assert.equal(memory.match(prefixesOf('system', 'b', 'b2'), 'd'), 3)
  memory.remember(prefixesOf('system', 'e', 'e2', 'e3'), 'd')
  assert.equal(memory.match(prefixesOf('system', 'a', 'a2'), 'd'), 1)
})

test('a prefix in steady use does not collect deployments that are gone', () => {
  const { clock, memory } = setUp()
  for (let i = 0; i < 50; i++) {
    memory.remember(['system'], `d${i}`)
    clock.now += 20_000
  }
  assert.equal(memory.size, 3)
})

test('it stays within its bound, and both ways of asking agree, whatever comes', () => {
  const random = seeded(9)
  const { clock, memory } = setUp(50)
  const word = () => `m${Math.floor(random() * 3)}`
  for (let i = 0; i < 3_000; i++) {
    clock.now += Math.floor(random() * 3_000)
    const length = Math.floor(random() * (i % 100 === 0 ? 80 : 8))
    const talk = prefixesOf(...Array.from({ length }, word))
    memory.remember(talk, `d${Math.floor(random() * 4)}`)
    assert.ok(memory.size <= 50)
    const found = memory.matches(talk)
    for (const id of ['d0', 'd1', 'd2', 'd3']) {
      assert.equal(memory.match(talk, id), found.get(id) ?? 0)
    }
  }
})

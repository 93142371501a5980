import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ChurnMap } from './churn-map.ts'

test('it is a map in the order in which entries came', () => {
  const map = new ChurnMap<number, { text: string }>()
  for (const text of ['a', 'b', 'c']) map.set(text.charCodeAt(0), { text })
  assert.equal(map.size, 3)
  assert.equal(map.get(98)?.text, 'b')
  assert.equal(map.delete(98), true)
  assert.equal(map.delete(98), false)
  assert.equal(map.has(98), false)
  map.set(97, { text: 'A' })
  assert.deepEqual([...map.keys()], [99, 97])
  assert.deepEqual(
    [...map.values()].map(({ text }) => text),
    ['c', 'A'],
  )
  map.clear()
  assert.deepEqual([...map.values()], [])
})

test('what is taken out while it is gone through is left out', () => {
  const map = new ChurnMap<number, { n: number }>()
  for (const n of [1, 2, 3]) map.set(n, { n })
  const seen: number[] = []
  for (const { n } of map.values()) {
    seen.push(n)
    map.delete(2)
  }
  assert.deepEqual(seen, [1, 3])
})

test('entries that are gone do not pile up until the next full collection', () => {
  setFlagsFromString('--expose-gc')
  const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc')
  const map = new ChurnMap<number, number[]>()
  collect()
  const before = oldBytes()
  // Eight megabytes pass through it, 32 entries at a time; V8's own Map keeps all of them.
  for (let n = 0; n < 5_000; n++) {
    map.set(n, new Array(200).fill(n))
    map.delete(n - 32)
    if (n % 100 === 99) collect({ type: 'minor' })
  }
  assert.equal(map.size, 32)
  assert.ok(oldBytes() - before < 2_000_000)
})

function oldBytes(): number {
  const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')
  return space?.space_used_size ?? 0
}

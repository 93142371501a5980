import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from './memory-store.ts'

const ofBytes = (count: number) => new Uint8Array(count)

test('the least recently used answers make room, by number and by bytes', async () => {
  let now = 0
  const store = createMemoryStore({ maxEntries: 3, maxBytes: 100, now: () => now })
  for (const key of ['a', 'b', 'c']) store.put(key, ofBytes(10), 1_000)
  await store.get('a')
  store.put('d', ofBytes(10), 1_000)
  assert.equal(await store.get('b'), null)
  assert.ok(await store.get('a'))
  store.put('e', ofBytes(85), 1_000)
  const left = []
  for (const key of ['a', 'c', 'd', 'e']) if ((await store.get(key)) !== null) left.push(key)
  assert.deepEqual(left, ['a', 'e'])
  store.put('a', ofBytes(101), 1_000)
  assert.equal(await store.get('a'), null, 'nor is what it replaces found any more')
  now = 1_000
  assert.equal(await store.get('e'), null)
})

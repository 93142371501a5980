import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CacheIdentity, cacheKeyOf } from './cache-key.ts'

const identity: CacheIdentity = {
  scope: 'team:t1',
  namespaces: ['', ''],
  operation: 'chat',
  dialect: 'chat',
  headers: {},
  model: 'm',
  local: false,
  stream: false,
  allowedGroups: null,
  hasBudget: false,
}
const keyOf = (body: object | string, other: Partial<CacheIdentity> = {}) =>
  cacheKeyOf(
    { ...identity, ...other },
    Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
  )

test('the order of fields and what says nothing of the answer change nothing', () => {
  const one = { model: 'm', temperature: 0, messages: [{ role: 'user', content: 'hi' }] }
  const same = {
    messages: [{ content: 'hi', role: 'user' }],
    temperature: 0,
    model: 'alias',
    user: 'jane',
    metadata: { tags: ['x'] },
    priority: 3,
    cache: { ttl: 5 },
  }
  assert.equal(keyOf(one), keyOf(same))
})

test('whatever else differs makes another key', () => {
  const body = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
  const keys = [
    keyOf(body),
    keyOf({ ...body, temperature: 1 }),
    keyOf({ ...body, seed: null }),
    keyOf({ ...body, messages: [{ role: 'user', content: 'hi' }, {}] }),
    keyOf({ ...body, messages: [{ role: 'user', content: ['hi'] }] }),
    keyOf('no JSON'),
    keyOf(body, { scope: 'team:t2' }),
    keyOf(body, { namespaces: ['a', ''] }),
    keyOf(body, { namespaces: ['', 'a'] }),
    keyOf(body, { operation: 'completion' }),
    keyOf(body, { dialect: 'messages' }),
    keyOf(body, { model: 'other' }),
    keyOf(body, { local: true }),
    keyOf(body, { stream: true }),
    keyOf(body, { allowedGroups: [] }),
    keyOf(body, { hasBudget: true }),
    keyOf(body, { headers: { 'anthropic-beta': 'x' } }),
  ]
  assert.equal(new Set(keys).size, keys.length)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { difference } from './audit.ts'

test('a change is recorded as what differs, without how the spending stood', () => {
  const before = {
    rpm_limit: 1,
    tags: ['a'],
    spend: 1,
    model_max_budget: { m: { max_budget: 1, spend: 0.1 } },
  }
  const after = {
    rpm_limit: null,
    tags: ['a'],
    spend: 2,
    model_max_budget: { m: { max_budget: 1, spend: 0.2 } },
  }
  assert.deepEqual(difference(before, after), [{ rpm_limit: 1 }, { rpm_limit: null }])
})

test('what is new or gone is recorded whole, without its masked key', () => {
  const key = { key_name: 'sk-...abcd', key_alias: 'a', updated_at: 'now' }
  assert.deepEqual(difference(null, key), [null, { key_alias: 'a' }])
  assert.deepEqual(difference(key, null), [{ key_alias: 'a' }, null])
})

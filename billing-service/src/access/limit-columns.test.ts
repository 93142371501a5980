import assert from 'node:assert/strict'
import { test } from 'node:test'
import { columnsOf } from './limit-columns.ts'

test('what is not given is no column; null is the column’s way to say none', () => {
  assert.deepEqual(columnsOf({}, {}), {})
  assert.deepEqual(
    columnsOf({ models: null, metadata: null, blocked: null, rpm_limit: null }, {}),
    {
      models: [],
      metadata: '{}',
      blocked: false,
      rpm_limit: null,
    },
  )
  assert.deepEqual(columnsOf({ tpm_limit: 5, max_parallel_requests: 2 }, {}), {
    tpm_limit: '5',
    max_parallel_requests: 2,
  })
})

test('a kind of model limits is replaced as a whole, and the other kinds stay', () => {
  const before = { a: { rpm_limit: 1, tpm_limit: 2 }, b: { rpm_limit: 3 } }
  const limits = (fields: Parameters<typeof columnsOf>[0]) =>
    JSON.parse(columnsOf(fields, before).model_limits ?? 'null')
  assert.deepEqual(limits({ model_rpm_limit: { c: 4 } }), {
    a: { tpm_limit: 2 },
    c: { rpm_limit: 4 },
  })
  assert.deepEqual(limits({ model_tpm_limit: null }), { a: { rpm_limit: 1 }, b: { rpm_limit: 3 } })
  assert.equal(limits({ rpm_limit: 1 }), null)
})

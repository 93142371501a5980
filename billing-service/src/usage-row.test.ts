import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { priceUsage } from '@penstock/shared/pricing/price'
import { usageRow } from './usage-row.ts'

const plain = usageEventOf()
const caller = plain.caller

test('text that Postgres would refuse is mended', () => {
  const event = usageEventOf({ caller: { ...caller, endUser: 'a\0b\ud800' }, tags: ['t\0'] })
  const row = usageRow(event, priceUsage(event))
  assert.equal(row.end_user, 'a\ufffdb\ufffd')
  assert.deepEqual(row.tags, ['t\ufffd'])
})

test('what clients can stretch is bounded, surrogate pairs kept whole', () => {
  const event = usageEventOf({
    caller: { ...caller, endUser: `${'x'.repeat(255)}😀` },
    sessionId: 's'.repeat(10_000),
    tags: Array.from({ length: 100 }, (_, i) => `tag-${i}`),
    error: new PenstockError('upstream_error', 'm'.repeat(10_000)).info,
  })
  const row = usageRow(event, priceUsage(event))
  assert.equal(row.end_user, `${'x'.repeat(255)}\ufffd`)
  assert.equal(row.session_id?.length, 256)
  assert.equal(row.tags.length, 32)
  assert.equal(row.error?.message.length, 1_024)
})

test('an identity is never mended: it is stored as it is or refused', () => {
  const long = usageEventOf({ requestId: 'r'.repeat(500) })
  assert.equal(usageRow(long, priceUsage(long)).request_id, long.requestId)
  for (const requestId of ['a\0', '\udfff']) {
    const event = usageEventOf({ requestId })
    assert.throws(() => usageRow(event, priceUsage(event)), RangeError)
  }
})

test('a time that is none is refused', () => {
  const event = usageEventOf({ prices: null, priceRef: null, receivedAt: Number.MAX_SAFE_INTEGER })
  assert.throws(() => usageRow(event, priceUsage(event)), RangeError)
})

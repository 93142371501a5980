import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { readUsageMessage } from './usage-message.ts'

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

test('a message is a list of events', () => {
  const events = [usageEventOf(), usageEventOf({ attempt: 2 })]
  assert.deepEqual(readUsageMessage(encode(events)), { events, releases: [], rejects: [] })
})

test('a view into a larger buffer is read without its surroundings', () => {
  const bytes = encode([usageEventOf()])
  const around = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yy')])
  const { events } = readUsageMessage(around.subarray(2, 2 + bytes.length))
  assert.equal(events.length, 1)
})

test('garbage is handed back whole', () => {
  const garbage = new Uint8Array([0, 255, 123])
  assert.deepEqual(readUsageMessage(garbage), {
    events: [],
    releases: [],
    rejects: [{ reason: 'not JSON', payload: garbage }],
  })
  for (const value of [{}, [], 'text', null, 7]) {
    const { events, rejects } = readUsageMessage(encode(value))
    assert.deepEqual(events, [])
    assert.equal(rejects[0]?.reason, 'not a list of events')
  }
})

test('a release stands alone, and one of an impossible request is handed back', () => {
  const released = { requestId: 'req-1', within: 15_000 }
  assert.deepEqual(readUsageMessage(encode({ released })), {
    events: [],
    releases: [released],
    rejects: [],
  })
  const { releases, rejects } = readUsageMessage(
    encode({ released: { requestId: 'a\0', within: 0 } }),
  )
  assert.deepEqual(releases, [])
  assert.equal(rejects[0]?.reason, 'request id is not storable')
})

test('a bad event does not take its neighbours with it', () => {
  const good = usageEventOf()
  const bad = { ...usageEventOf(), attempt: 0, requestId: 'secret-in-a-bad-event' }
  const { events, rejects } = readUsageMessage(encode([good, bad]))
  assert.deepEqual(events, [good])
  assert.equal(rejects.length, 1)
  assert.equal(rejects[0]?.reason, 'attempt: too_small')
  assert.deepEqual(JSON.parse(Buffer.from(rejects[0]?.payload ?? []).toString()), bad)
})

test('the reason names the fault without quoting the value', () => {
  const bad = { ...usageEventOf(), status: 'sk-secret' }
  const [reject] = readUsageMessage(encode([bad])).rejects
  assert.match(reject?.reason ?? '', /^status: /)
  assert.doesNotMatch(reject?.reason ?? '', /sk-secret/)
})

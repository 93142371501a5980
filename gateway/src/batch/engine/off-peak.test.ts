import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOffPeak } from './off-peak.ts'

const at = (moment: string) => Date.parse(moment)

test('a window over midnight is open on both sides of it, and shut at its end', () => {
  const { isOpen } = parseOffPeak('22:00-06:00')
  assert.equal(isOpen(at('2026-03-01T21:59:59Z')), false)
  assert.equal(isOpen(at('2026-03-01T22:00:00Z')), true)
  assert.equal(isOpen(at('2026-03-02T05:59:59Z')), true)
  assert.equal(isOpen(at('2026-03-02T06:00:00Z')), false)
})

test('the wall clock of the zone counts, in summer and in winter', () => {
  const { isOpen } = parseOffPeak('22:00-06:00 Europe/Berlin')
  assert.equal(isOpen(at('2026-01-10T21:00:00Z')), true)
  assert.equal(isOpen(at('2026-01-10T20:59:00Z')), false)
  assert.equal(isOpen(at('2026-07-10T20:00:00Z')), true)
  assert.equal(isOpen(at('2026-07-10T19:59:00Z')), false)
})

test('a window within a day, and one of a whole day', () => {
  const noon = parseOffPeak('12:00-13:30 UTC')
  assert.equal(noon.isOpen(at('2026-01-10T13:29:00Z')), true)
  assert.equal(noon.isOpen(at('2026-01-10T13:30:00Z')), false)
  assert.equal(parseOffPeak('00:00-00:00').isOpen(at('2026-01-10T13:30:00Z')), true)
})

test('another form, or a zone that nobody knows, is refused', () => {
  for (const text of ['22-06', '25:00-06:00', '22:00-06:00 Europe/Nowhere', '']) {
    assert.throws(() => parseOffPeak(text), { code: 'invalid_request' })
  }
})

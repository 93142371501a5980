import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRange } from './byte-range.ts'

test('a range is from, to, or the last so many bytes', () => {
  const cases: [header: string | undefined, start: number, end: number][] = [
    ['bytes=0-0', 0, 1],
    ['bytes=2-4', 2, 5],
    ['bytes=2-', 2, 10],
    ['bytes=-3', 7, 10],
    ['bytes=-99', 0, 10],
    ['bytes=5-99', 5, 10],
    ['Bytes = 5 - 6', 5, 7],
  ]
  for (const [header, start, end] of cases) {
    assert.deepEqual(parseRange(header, 10), { start, end }, header)
  }
})

test('a range with nothing in it is unsatisfiable', () => {
  for (const header of ['bytes=10-', 'bytes=10-12', 'bytes=-0']) {
    assert.equal(parseRange(header, 10), 'unsatisfiable', header)
  }
  assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable')
})

test('what is no single range of bytes asks for the whole', () => {
  for (const header of [undefined, '', 'bytes=-', 'bytes=4-2', 'bytes=0-1,3-4', 'lines=0-1', 'x']) {
    assert.equal(parseRange(header, 10), null, header)
  }
})

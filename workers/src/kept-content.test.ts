import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keptContent } from './kept-content.ts'

const bytes = (text: string) => Buffer.from(text)

test('a short prompt and the parts of its reply are kept whole', () => {
  const kept = keptContent(bytes('{"a":"é"}'), [bytes('one '), bytes('two')])
  assert.deepEqual(kept, { request: '{"a":"é"}', reply: 'one two', truncated: false })
})

test('a long reply is cut between characters, and it says so', () => {
  const long = bytes('é'.repeat(10_000))
  const { reply, truncated } = keptContent(bytes('{}'), [bytes('x'), long])
  assert.equal(truncated, true)
  assert.equal(reply, `x${'é'.repeat((12 * 1024 - 2) / 2)}`)
})

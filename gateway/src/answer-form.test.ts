import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import { messages } from '@penstock/shared/dialects/messages/messages'
import { chatForm, dialectForm } from './answer-form.ts'

const end = { head: null, usage: noUsage, startedAt: 1, endedAt: 2 }
const head = { deploymentId: 'd', group: 'g', retries: 0, fallbacks: 0, upstreamMs: 1 }
const chunk = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n')
const form = () => dialectForm(messages, { model: 'm' }, 'r1')
const text = (parts: (Uint8Array | string)[]) => parts.map((part) => part.toString()).join('')

test("OpenAI's clients get the very bytes of the frames", () => {
  assert.equal(chatForm.data(head, chunk), chunk)
  assert.equal(chatForm.whole(head, chunk, end), chunk)
  assert.equal(text(chatForm.end(head, chunk, end)), `${chunk}data: [DONE]\n\n`)
})

test("an upstream's own bytes go to a client of its dialect as they are, to the end", () => {
  const native = { ...head, dialect: 'messages' as const }
  const stream = form()
  assert.equal(stream.data(native, chunk), chunk)
  assert.equal(stream.data(null, chunk), chunk)
  assert.equal(text(stream.end(null, Buffer.alloc(0), end)), '')
  assert.equal(form().whole(native, chunk, end), chunk)
})

test('canonical bytes are translated, also where the last frame is the only one', () => {
  const stream = form()
  assert.match(text([stream.data(head, chunk) ?? '']), /event: content_block_delta\n.*"hi"/)
  assert.match(text(stream.end(null, Buffer.alloc(0), end)), /event: message_stop\n/)
  assert.match(text(form().end(head, chunk, end)), /message_start.*"hi".*message_stop/s)
})

test('a reply that cannot be translated is the fault of the upstream', () => {
  for (const reply of ['{"choices":[]}', 'no JSON', 'null']) {
    const bytes = Buffer.from(reply)
    assert.throws(() => form().whole(head, bytes, end), { code: 'upstream_invalid_response' })
  }
})

test("a stream's error continues what was written of it", () => {
  const { info } = new PenstockError('interrupted', 'lost')
  const error = { type: 'error', error: { type: 'api_error', message: 'lost' } }
  assert.equal(text([form().error.event(info)]), `event: error\ndata: ${JSON.stringify(error)}\n\n`)
})

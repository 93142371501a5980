import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countDeltas, serviceTierOf, textOfEvents } from './sse-text.ts'

const event = (delta: object) =>
  Buffer.from(`data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`)

test('content, reasoning and tool calls count, whatever the chunk boundaries', () => {
  const all = Buffer.concat([
    event({ role: 'assistant', content: '' }),
    event({ reasoning_content: 'hm ' }),
    event({ content: 'grün' }),
    event({ tool_calls: [{ index: 0, function: { name: 'f', arguments: '{"a":1}' } }] }),
  ])
  const bytes = [...all].map((byte) => Uint8Array.of(byte))
  assert.equal(textOfEvents(bytes), 'hm grünf{"a":1}')
})

test('a plain reply gives its text', () => {
  const reply = { choices: [{ message: { content: 'answer' } }] }
  assert.equal(textOfEvents([Buffer.from(JSON.stringify(reply))]), 'answer')
})

test('an event that was cut off counts for nothing', () => {
  const whole = event({ content: 'seen' })
  assert.equal(textOfEvents([whole, event({ content: 'lost' }).subarray(0, 20)]), 'seen')
})

test("an upstream's own bytes are read in their dialect", () => {
  const own = (delta: object) =>
    Buffer.from(`event: content_block_delta\ndata: ${JSON.stringify({ delta })}\n\n`)
  const pieces = ['one', ' two'].map((text) => own({ type: 'text_delta', text }))
  const bytes = [own({ type: 'signature_delta', signature: 'x' }), ...pieces]
  assert.equal(countDeltas(bytes, 'messages'), 2)
  assert.equal(textOfEvents(bytes, 'messages'), 'one two')
  assert.equal(countDeltas(bytes), 0)
})

test('the tier is the one that the first chunk names, where it has prices of its own', () => {
  const chunk = (service_tier: unknown) =>
    Buffer.from(`data: ${JSON.stringify({ choices: [], service_tier })}\n\n`)
  assert.equal(serviceTierOf([chunk('priority'), event({ content: 'x' })]), 'priority')
  for (const tier of ['default', null, 7, undefined])
    assert.equal(serviceTierOf([chunk(tier)]), null)
  assert.equal(serviceTierOf([Buffer.from('{"choices":[],"service_tier":"flex"}')]), 'flex')
  // What a model writes is no field of the chunk.
  assert.equal(serviceTierOf([event({ content: '"service_tier":"flex"' })]), null)
  assert.equal(serviceTierOf([]), null)
})

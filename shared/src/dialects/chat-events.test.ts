// What servers make of OpenAI's chunks, in every dialect that is made of them: calls that are all numbered
// 0, or not at all, and empty finish reasons.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noUsage } from '../contracts/usage.ts'
import { createChatEventReader } from './chat-events.ts'
import type { Dialect, Fields } from './dialect.ts'
import { messages } from './messages/messages.ts'
import { ollamaChat } from './ollama/chat.ts'
import { responses } from './responses/responses.ts'

const end = { head: null, usage: noUsage, startedAt: 1, endedAt: 2 }
const eventsOf = (chunks: object[]) =>
  Buffer.from(chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join(''))
const piece = (call: Fields) => ({ choices: [{ index: 0, delta: { tool_calls: [call] } }] })
const calls = (numbered: Fields) =>
  eventsOf([
    piece({ ...numbered, id: 'c1', function: { name: 'f', arguments: '{"a":' } }),
    piece({ ...numbered, function: { arguments: '1}' } }),
    piece({ ...numbered, id: 'c2', function: { name: 'g', arguments: '{"b":2}' } }),
  ])

function told(dialect: Dialect, request: Fields, events: Buffer): string {
  const stream = dialect.stream(request)
  const pushed = stream.push(events) ?? new Uint8Array(0)
  return Buffer.concat([pushed, stream.end(end)]).toString()
}

for (const [how, numbered] of [
  ['all numbered 0', { index: 0 }],
  ['without numbers', {}],
] as const) {
  test(`two calls ${how} stay two: responses`, () => {
    const text = told(responses, { model: 'm', input: 'hi' }, calls(numbered))
    const last = text.slice(text.lastIndexOf('data: ') + 'data: '.length)
    const { response } = JSON.parse(last)
    assert.deepEqual(
      response.output.map(({ call_id, name, arguments: given }: Fields) => [call_id, name, given]),
      [
        ['c1', 'f', '{"a":1}'],
        ['c2', 'g', '{"b":2}'],
      ],
    )
  })

  test(`two calls ${how} stay two: Ollama`, () => {
    const lines = told(ollamaChat, { model: 'm' }, calls(numbered)).trim().split('\n')
    const { message } = JSON.parse(lines[0] ?? '')
    assert.deepEqual(message.tool_calls, [
      { id: 'c1', function: { index: 0, name: 'f', arguments: { a: 1 } } },
      { id: 'c2', function: { index: 1, name: 'g', arguments: { b: 2 } } },
    ])
  })

  test(`two calls ${how} stay two: messages`, () => {
    const text = told(messages, { model: 'm' }, calls(numbered))
    assert.equal(text.match(/event: content_block_start/g)?.length, 2)
  })
}

test('calls whose pieces come mixed keep to their numbers, each choice to its own', () => {
  const reader = createChatEventReader()
  const read = (choice: number, call: Fields) => {
    const chunk = { choices: [{ index: choice, delta: { tool_calls: [call] } }] }
    const [parsed] = reader.push(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
    return parsed?.choices[0]?.delta?.tool_calls?.[0]?.index
  }
  const opening = (index: number, id: string) => ({ index, id, function: { name: 'f' } })
  assert.equal(read(0, opening(0, 'a')), 0)
  assert.equal(read(0, opening(1, 'b')), 1)
  assert.equal(read(1, opening(0, 'c')), 0)
  assert.equal(read(0, { index: 0, function: { arguments: '{' } }), 0)
  assert.equal(read(0, opening(1, 'b')), 1)
  assert.equal(read(1, { index: 0, function: { arguments: '{' } }), 0)
})

test('an empty finish reason does not take the place of the one before', () => {
  const chunks = [
    { choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'length' }] },
    { choices: [{ index: 0, delta: { content: '' }, finish_reason: '' }] },
  ]
  const text = told(messages, { model: 'm' }, eventsOf(chunks))
  assert.match(text, /"stop_reason":"max_tokens"/)
  assert.match(
    told(responses, { model: 'm', input: 'hi' }, eventsOf(chunks)),
    /max_output_tokens"}/,
  )
})

test('a response has one choice, though the upstream sends more', () => {
  const chunks = [1, 0].map((index) => ({ choices: [{ index, delta: { content: `${index}` } }] }))
  const text = told(responses, { model: 'm', input: 'hi' }, eventsOf(chunks))
  assert.match(text, /"type":"output_text","text":"0",/)
  assert.doesNotMatch(text, /"text":"10"/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'
import { sealThinking } from './reasoning.ts'
import { responses } from './responses.ts'

const canonical = (fields: Fields): Fields =>
  responses.toCanonical({ model: 'm', input: 'hi', ...fields }).body

function refusal(fields: Fields): PenstockError['info'] {
  try {
    canonical(fields)
  } catch (error) {
    assert.ok(error instanceof PenstockError)
    return error.info
  }
  return assert.fail('it was taken')
}

test('a text is a message of the user, the instructions stand before it', () => {
  const { messages } = canonical({ instructions: 'Be brief.' })
  assert.deepEqual(messages, [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'hi' },
  ])
})

test('fields have their names of a chat; what only the gateway acts on is left out', () => {
  const body = canonical({
    stream: true,
    store: false,
    background: false,
    previous_response_id: 'resp_1',
    truncation: 'auto',
    metadata: { a: 'b' },
    temperature: 0.5,
    max_output_tokens: 10,
    reasoning: { effort: 'low', summary: 'auto' },
    include: ['message.output_text.logprobs'],
    top_logprobs: 2,
    keep_alive: '5m',
  })
  const { messages: _said, ...rest } = body
  assert.deepEqual(rest, {
    model: 'm',
    stream: true,
    temperature: 0.5,
    max_completion_tokens: 10,
    reasoning_effort: 'low',
    logprobs: true,
    top_logprobs: 2,
    keep_alive: '5m',
  })
})

test('tools, the choice among them and the form of the answer', () => {
  const tools = ['a', 'b'].map((name) => ({ type: 'function', name, parameters: {}, strict: true }))
  const wire = (name: string) => ({
    type: 'function',
    function: { name, parameters: {}, strict: true },
  })
  const some = { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'b' }] }
  assert.partialDeepStrictEqual(canonical({ tools, tool_choice: some }), {
    tools: [wire('b')],
    tool_choice: 'required',
  })
  const one = { type: 'function', name: 'a' }
  assert.partialDeepStrictEqual(canonical({ tools, tool_choice: one }), {
    tools: [wire('a'), wire('b')],
    tool_choice: { type: 'function', function: { name: 'a' } },
  })
  const format = { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true }
  const { type: _type, ...schema } = format
  assert.deepEqual(canonical({ text: { format } }).response_format, {
    type: 'json_schema',
    json_schema: schema,
  })
  assert.equal(canonical({ text: { format: { type: 'text' } } }).response_format, undefined)
})

test('thoughts, a text and calls of one turn are one message; their outputs follow', () => {
  const block = { type: 'thinking', thinking: 'Hm.', signature: 's' }
  const input = [
    { role: 'user', content: 'weather?' },
    {
      type: 'reasoning',
      id: 'rs_1',
      summary: [],
      content: [{ type: 'reasoning_text', text: 'Hm.' }],
      encrypted_content: sealThinking([block]),
    },
    {
      type: 'message',
      id: 'msg_1',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'Let me see.', annotations: [] }],
    },
    { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
    { type: 'function_call', call_id: 'c2', name: 'g', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c1', output: 'one' },
    { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
    { role: 'assistant', content: 'Done.' },
    { role: 'assistant', content: 'Really.' },
  ]
  const call = (id: string, name: string) => ({
    id,
    type: 'function',
    function: { name, arguments: '{}' },
  })
  assert.deepEqual(canonical({ input }).messages, [
    { role: 'user', content: 'weather?' },
    {
      role: 'assistant',
      content: 'Let me see.',
      reasoning_content: 'Hm.',
      thinking_blocks: [block],
      tool_calls: [call('c1', 'f'), call('c2', 'g')],
    },
    { role: 'tool', tool_call_id: 'c1', content: 'one' },
    { role: 'tool', tool_call_id: 'c2', content: 'two' },
    { role: 'assistant', content: 'Done.' },
    { role: 'assistant', content: 'Really.' },
  ])
})

test('images, files and sound are parts of a message', () => {
  const content = [
    { type: 'input_text', text: 'see' },
    { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'low' },
    { type: 'input_file', file_data: 'AA==', filename: 'a.pdf' },
    { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
  ]
  assert.deepEqual(canonical({ input: [{ role: 'user', content }] }).messages, [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'see' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } },
        { type: 'file', file: { file_data: 'AA==', filename: 'a.pdf' } },
        { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
      ],
    },
  ])
})

test('what cannot be done is refused, its field named', () => {
  const image = [{ role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] }]
  const refused: [Fields, string][] = [
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ tool_choice: { type: 'file_search' } }, 'tool_choice'],
    [{ input: [{ type: 'computer_call' }] }, 'input[0].type'],
    [{ input: [{ role: 'user', content: [{ type: 'x' }] }] }, 'input[0].content[0].type'],
    [{ input: image }, 'input[0].content[0].image_url'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0].id'],
    [{ input: [] }, 'input'],
    [{ prompt: { id: 'p' } }, 'prompt'],
    [{ temperature: 3 }, 'temperature'],
    [{ text: { format: { type: 'xml' } } }, 'text.format.type'],
  ]
  for (const [fields, param] of refused) {
    const info = refusal(fields)
    assert.deepEqual([info.code, info.param], ['invalid_request', param], info.message)
  }
})

// An OpenAI chat as Mistral's request: parameters, tools, messages.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mistralCallId } from './mistral-messages.ts'
import { mistralBody } from './mistral-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'

type Options = NonNullable<Parameters<typeof testCall>[1]>
const messages = [{ role: 'user', content: 'Hello!' }]

/** What Mistral gets for this chat, without the model. */
function sent(body: Record<string, unknown>, options: Options = {}) {
  const { model, ...rest } = mistralBody(
    testCall({ messages, ...body }, { model: 'm', ...options }),
  )
  assert.equal(model, 'm')
  return rest
}

test('parameters have Mistral’s names, and what means nothing there is left out', () => {
  const same = { temperature: 0.3, top_p: 0.9, stop: ['x'], n: 2, parallel_tool_calls: false }
  const body = {
    ...same,
    max_completion_tokens: 9,
    seed: 7,
    user: 'u',
    store: true,
    service_tier: 'auto',
    stream_options: { include_usage: true },
    logprobs: false,
    metadata: { tags: ['t'] },
    response_format: null,
    extra_body: { safe_prompt: true },
  }
  const expected = { ...same, messages, max_tokens: 9, random_seed: 7, safe_prompt: true }
  assert.deepEqual(sent(body), expected)
  const streaming = { messages, max_tokens: 3, stream: true }
  assert.deepEqual(sent({ max_tokens: 3 }, { stream: true }), streaming)
})

test('tools, their choice, the effort and the format of an answer', () => {
  const weather = { name: 'weather', parameters: { type: 'object' }, strict: true }
  const tools = [
    { type: 'function', function: weather },
    { type: 'function', function: { name: 'now' } },
  ]
  const now = { parameters: { type: 'object', properties: {} }, name: 'now' }
  const both = [tools[0], { type: 'function', function: now }]
  const named = { type: 'function', function: { name: 'now' } }
  const format = { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' } } }
  const first = sent({ tools, tool_choice: 'required', response_format: format })
  const { messages: _, ...rest } = first
  assert.deepEqual(rest, { tools: both, tool_choice: 'any', response_format: format })
  assert.deepEqual(sent({ tools, tool_choice: named }).tool_choice, named)
  assert.equal(sent({ reasoning_effort: 'low' }).reasoning_effort, 'high')
  assert.equal(sent({ reasoning_effort: 'none' }).reasoning_effort, 'none')
})

test('messages keep only what Mistral’s schema has', () => {
  const image = { url: 'https://h/x.png', detail: 'low' }
  const call = { id: 'call_abc', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
  const history = [
    { role: 'developer', content: 'Be brief.' },
    {
      role: 'user',
      name: 'ann',
      content: [
        { type: 'text', text: 'see', cache_control: { type: 'ephemeral' } },
        { type: 'image_url', image_url: image },
        { type: 'input_audio', input_audio: { data: 'UklG', format: 'wav' } },
        {
          type: 'file',
          file: { file_data: 'data:application/pdf;base64,JVBE', filename: 'a.pdf' },
        },
      ],
    },
    {
      role: 'assistant',
      content: 'So',
      reasoning_content: 'hm',
      refusal: null,
      annotations: [],
      tool_calls: [{ ...call, index: 0, extra_content: {} }],
    },
    { role: 'tool', tool_call_id: 'call_abc', name: 'f', content: '42' },
  ]
  const id = mistralCallId('call_abc')
  assert.match(id, /^[a-zA-Z0-9]{9}$/)
  assert.deepEqual(sent({ messages: history }).messages, [
    { role: 'system', content: 'Be brief.' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'see' },
        { type: 'image_url', image_url: image.url },
        { type: 'input_audio', input_audio: 'UklG' },
        {
          type: 'document_url',
          document_url: 'data:application/pdf;base64,JVBE',
          document_name: 'a.pdf',
        },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
        { type: 'text', text: 'So' },
      ],
      tool_calls: [{ ...call, id }],
    },
    { role: 'tool', content: '42', tool_call_id: id, name: 'f' },
  ])
  assert.equal(mistralCallId('D681PevKs'), 'D681PevKs')
  const begun = [...messages, { role: 'assistant', content: 'Well,' }]
  assert.deepEqual(sent({ messages: begun }).messages, [
    ...messages,
    { role: 'assistant', content: 'Well,', prefix: true },
  ])
})

test('what Mistral cannot do is refused by name, or dropped', () => {
  const refused = { logprobs: true, logit_bias: { 1: 2 }, functions: [{}], audio: {} }
  for (const [param, value] of Object.entries(refused)) {
    assert.throws(() => sent({ [param]: value }), failsWith('unsupported_parameter', param))
  }
  assert.deepEqual(sent(refused, { deployment: { dropParams: true } }), { messages })
  const dropped = { deployment: { additionalDropParams: ['seed', 'top_p'] } }
  assert.deepEqual(sent({ seed: 1, top_p: 1 }, dropped), { messages })
  const odd = [{ role: 'user', content: [{ type: 'video', video: {} }] }]
  const place = failsWith('unsupported_parameter', 'messages[0].content[0]')
  assert.throws(() => sent({ messages: odd }), place)
})

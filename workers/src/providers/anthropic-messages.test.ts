// OpenAI's chat messages as Anthropic's (docs: api/messages).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conversationOf } from './anthropic-messages.ts'
import { failsWith } from './provider-test-kit.ts'

const messages = [{ role: 'user', content: 'Hello' }]
const user = { role: 'user', content: [{ type: 'text', text: 'Hello' }] }
const png = 'data:image/png;base64,iVBORw0KGgo='
const called = (id: string, name: string, json: string) => ({
  id,
  type: 'function',
  function: { name, arguments: json },
})

/** The conversation's `messages`, and what is lifted out of them. */
function conversation(all: unknown[]) {
  const { messages: turns, system } = conversationOf(all)
  return { turns, system }
}

test('system and developer messages are lifted out and merged, wherever they stand', () => {
  const cache = { type: 'ephemeral' }
  const { system, turns } = conversation([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
    { role: 'developer', content: [{ type: 'text', text: 'Be kind.', cache_control: cache }] },
  ])
  assert.deepEqual(system, [
    { type: 'text', text: 'Be brief.' },
    { type: 'text', text: 'Be kind.', cache_control: cache },
  ])
  assert.deepEqual(turns, [user])
  const alone = conversation([{ role: 'system', content: 'Say hi.' }])
  assert.deepEqual(alone, {
    system: [],
    turns: [{ role: 'user', content: [{ type: 'text', text: 'Say hi.' }] }],
  })
})

test('turns alternate: equal roles are merged, blank texts and empty turns left out', () => {
  const { turns } = conversation([
    { role: 'user', content: 'a' },
    { role: 'assistant', content: '' },
    {
      role: 'user',
      content: [
        { type: 'text', text: ' ' },
        { type: 'text', text: 'b' },
      ],
    },
    { role: 'assistant', content: 'The answer is ' },
  ])
  assert.deepEqual(turns, [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: 'The answer is' }] },
  ])
})

test('images and documents become blocks, by what their data is', () => {
  const pdf = 'data:application/pdf;base64,JVBERi0='
  const text = `data:text/plain;charset=utf-8;base64,${Buffer.from('héé').toString('base64')}`
  const cache = { type: 'ephemeral', ttl: '1h' }
  const content = [
    { type: 'image_url', image_url: { url: png, detail: 'high' }, cache_control: cache },
    { type: 'image_url', image_url: 'https://example.com/a.jpg' },
    { type: 'image_url', image_url: { url: pdf } },
    { type: 'file', file: { file_data: pdf, filename: 'tide.pdf' } },
    { type: 'file', file: { file_data: text } },
    { type: 'file', file: { file_id: 'file_011' } },
    { type: 'file', file: { file_id: 'https://example.com/a.pdf' } },
    { type: 'document', source: { type: 'url', url: 'https://example.com/b.pdf' } },
  ]
  const pdfSource = { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' }
  const imageSource = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' }
  assert.deepEqual(conversation([{ role: 'user', content }]).turns, [
    {
      role: 'user',
      content: [
        { type: 'image', source: imageSource, cache_control: cache },
        { type: 'image', source: { type: 'url', url: 'https://example.com/a.jpg' } },
        { type: 'document', source: pdfSource },
        { type: 'document', source: pdfSource, title: 'tide.pdf' },
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'héé' } },
        { type: 'document', source: { type: 'file', file_id: 'file_011' } },
        { type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } },
        { type: 'document', source: { type: 'url', url: 'https://example.com/b.pdf' } },
      ],
    },
  ])
})

test('content that cannot be sent is refused by its place', () => {
  const cases = [
    [{ type: 'input_audio', input_audio: {} }, 'unsupported_parameter', 'type'],
    [{ type: 'image_url', image_url: { url: 'ftp://a/b.png' } }, 'invalid_request', 'image_url'],
    [{ type: 'file', file: { file_data: 'xx' } }, 'invalid_request', 'file.file_data'],
    [{ type: 'file', file: {} }, 'invalid_request', 'file'],
    [{ type: 'text' }, 'invalid_request', 'text'],
  ] as const
  for (const [part, code, place] of cases) {
    const send = () => conversation([{ role: 'user', content: [part] }])
    assert.throws(send, failsWith(code, `messages[0].content[0].${place}`))
  }
  assert.throws(() => conversation([]), failsWith('invalid_request', 'messages'))
})

test('tool calls and results: parallel ones share a turn, ids are made fit', () => {
  const { turns } = conversation([
    ...messages,
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        called('functions.get:0', 'get_weather', '{"location":"Brest"}'),
        called('b', 'get_weather', ''),
      ],
    },
    { role: 'tool', tool_call_id: 'functions.get:0', content: 'rain' },
    { role: 'tool', tool_call_id: 'b', content: [{ type: 'image_url', image_url: png }] },
    { role: 'user', content: 'And?' },
  ])
  const source = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' }
  assert.deepEqual(turns, [
    user,
    {
      role: 'assistant',
      content: [
        {
          type: 'tool_use',
          id: 'functions_get_0',
          name: 'get_weather',
          input: { location: 'Brest' },
        },
        { type: 'tool_use', id: 'b', name: 'get_weather', input: {} },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'functions_get_0', content: 'rain' },
        { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'image', source }] },
        { type: 'text', text: 'And?' },
      ],
    },
  ])
  const broken = [{ role: 'assistant', tool_calls: [called('a', 'x', '{')] }]
  const place = 'messages[0].tool_calls[0].function.arguments'
  assert.throws(() => conversation(broken), failsWith('invalid_request', place))
})

test('signed thinking goes back in front of the calls that it led to', () => {
  const thinking = { type: 'thinking', thinking: 'Rain?', signature: 'EqQB' }
  const redacted = { type: 'redacted_thinking', data: 'xyz' }
  const unsigned = { type: 'thinking', thinking: 'lost', signature: null }
  const { turns } = conversation([
    ...messages,
    {
      role: 'assistant',
      content: 'Let me see.',
      reasoning_content: 'Rain?',
      thinking_blocks: [thinking, redacted, unsigned],
      tool_calls: [called('a', 'get_weather', '{}')],
    },
    { role: 'tool', tool_call_id: 'a', content: 'rain' },
  ])
  assert.deepEqual(turns[1]?.content, [
    thinking,
    redacted,
    { type: 'text', text: 'Let me see.' },
    { type: 'tool_use', id: 'a', name: 'get_weather', input: {} },
  ])
})

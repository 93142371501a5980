// OpenAI's chat messages as Converse's: turns, bytes, cache points, and what cannot be sent.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bedrockConversation } from './bedrock-messages.ts'
import { failsWith } from './provider-test-kit.ts'

test('system messages stand apart, turns alternate, blank texts are left out', () => {
  const { system, messages: turns } = bedrockConversation([
    { role: 'system', content: [{ type: 'text', text: 'Be brief.', cache_control: {} }] },
    { role: 'user', content: 'a' },
    { role: 'assistant', content: ' ' },
    { role: 'developer', content: 'Be kind.' },
    { role: 'user', content: 'b' },
  ])
  const point = { cachePoint: { type: 'default' } }
  assert.deepEqual(system, [{ text: 'Be brief.' }, point, { text: 'Be kind.' }])
  assert.deepEqual(turns, [{ role: 'user', content: [{ text: 'a' }, { text: 'b' }] }])
  const alone = bedrockConversation([{ role: 'system', content: 'Say hi.' }])
  assert.deepEqual(alone.messages, [{ role: 'user', content: [{ text: 'Say hi.' }] }])
})

test('images, documents, audio and cache points become blocks of bytes', () => {
  const bytes = Buffer.from('abc')
  const data = (type: string) => `data:${type};base64,${bytes.toString('base64')}`
  const content = [
    { type: 'image_url', image_url: { url: data('image/jpg') } },
    { type: 'image_url', image_url: { url: 's3://bucket/a.PNG' } },
    { type: 'image_url', image_url: { url: data('application/pdf') } },
    {
      type: 'file',
      file: { file_data: data('text/csv'), filename: 'tide_tables (2).v1.csv' },
      cache_control: { type: 'ephemeral', ttl: '1h' },
    },
    { type: 'input_audio', input_audio: { data: bytes.toString('base64'), format: 'wav' } },
    { cachePoint: { type: 'default' } },
  ]
  const source = { bytes }
  assert.deepEqual(bedrockConversation([{ role: 'user', content }]).messages, [
    {
      role: 'user',
      content: [
        { image: { format: 'jpeg', source } },
        { image: { format: 'png', source: { s3Location: { uri: 's3://bucket/a.PNG' } } } },
        { document: { format: 'pdf', name: 'document', source } },
        { document: { format: 'csv', name: 'tide-tables (2) v1', source } },
        { cachePoint: { type: 'default', ttl: '1h' } },
        { audio: { format: 'wav', source } },
        { cachePoint: { type: 'default' } },
      ],
    },
  ])
})

test('content that cannot be sent is refused by its place', () => {
  const image = (url: string) => ({ type: 'image_url', image_url: { url } })
  const cases = [
    [image('https://example.com/a.png'), 'unsupported_parameter', 'image_url'],
    [image('data:image/tiff;base64,YQ=='), 'invalid_request', 'image_url'],
    [{ type: 'file', file: { file_id: 'f' } }, 'unsupported_parameter', 'file'],
    [{ type: 'video' }, 'unsupported_parameter', 'type'],
  ] as const
  for (const [part, code, place] of cases) {
    const send = () => bedrockConversation([{ role: 'user', content: [part] }])
    assert.throws(send, failsWith(code, `messages[0].content[0].${place}`))
  }
})

test('tool calls, results and signed thinking go both ways', () => {
  const thinking = [
    { type: 'thinking', thinking: 'Hm.', signature: 's' },
    { type: 'redacted_thinking', data: 'YWJj' },
  ]
  const calls = [
    { id: 'a:1', type: 'function', function: { name: 'top_song', arguments: '{"sign":"WZPZ"}' } },
  ]
  const asked = { role: 'user', content: 'Hello' }
  const assistant = { role: 'assistant', content: '', tool_calls: calls }
  const result = { role: 'tool', tool_call_id: 'a:1', content: '' }
  const { messages: turns } = bedrockConversation([
    asked,
    { ...assistant, thinking_blocks: thinking },
    { ...result, content: [{ type: 'text', text: 'x', cache_control: {} }] },
    { role: 'user', content: 'And?' },
  ])
  assert.deepEqual(turns, [
    { role: 'user', content: [{ text: 'Hello' }] },
    {
      role: 'assistant',
      content: [
        { reasoningContent: { reasoningText: { text: 'Hm.', signature: 's' } } },
        { reasoningContent: { redactedContent: Buffer.from('abc') } },
        { toolUse: { toolUseId: 'a_1', name: 'top_song', input: { sign: 'WZPZ' } } },
      ],
    },
    {
      role: 'user',
      content: [
        { toolResult: { toolUseId: 'a_1', content: [{ text: 'x' }] } },
        { cachePoint: { type: 'default' } },
        { text: 'And?' },
      ],
    },
  ])
  const empty = bedrockConversation([asked, assistant, result])
  assert.deepEqual(empty.messages[2], {
    role: 'user',
    content: [{ toolResult: { toolUseId: 'a_1', content: [{ json: {} }] } }],
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeUpload } from '@penstock/shared/upload'
import { work } from './fixtures/work.ts'
import type { ProviderEntry } from './providers/provider.ts'
import { failsWith, testCall } from './providers/provider-test-kit.ts'
import { readBody } from './read-body.ts'

const provider = { run: () => Promise.reject(new Error('not called')) }
const entry: ProviderEntry = { provider, prefixes: ['x'], slots: 1, locality: 'cloud' }
const deployment = { ...testCall({}).deployment, defaults: { temperature: 0.2, top_p: 0.9 } }
const cache_control = { type: 'ephemeral' }
const request = {
  model: 'm',
  max_tokens: 5,
  temperature: 1,
  thinking: { type: 'adaptive' },
  system: [{ type: 'text', text: 'be brief', cache_control }],
  messages: [
    { role: 'user', content: 'hi' },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'hm', signature: 's' },
        { type: 'text', text: 'hello' },
      ],
    },
    { role: 'user', content: 'go on' },
  ],
}
const read = (
  more: Partial<ProviderEntry>,
  body: object = request,
  dialect = 'messages' as const,
) =>
  readBody(work({ dialect, dialectHeaders: { a: 'b' } }), Buffer.from(JSON.stringify(body)), {
    deployment,
    entry: { ...entry, ...more },
  })

test('an upload is its fields with the defaults, and its file; what is kept of it is the fields', () => {
  const file = { filename: 'a.mp3', contentType: 'audio/mpeg', bytes: Buffer.from([0, 255]) }
  const { bytes, ...head } = { ...file, fields: { model: 'm', temperature: '1' } }
  const upload = readBody(work({ operation: 'transcription' }), encodeUpload(head, bytes), {
    deployment,
    entry,
  })
  assert.deepEqual(upload.body, { model: 'm', temperature: '1', top_p: 0.9 })
  assert.deepEqual(upload.file, file)
  assert.equal(Buffer.from(upload.written ?? []).toString(), JSON.stringify(head.fields))
})

test('a canonical body gets the defaults and is otherwise as it came', () => {
  const bytes = Buffer.from(JSON.stringify({ temperature: 1, odd: [1] }))
  const { body, native } = readBody(work(), bytes, { deployment, entry })
  assert.deepEqual([body, native], [{ temperature: 1, top_p: 0.9, odd: [1] }, null])
})

test('a provider that speaks the dialect gets the body as it came, without defaults', () => {
  const { body, native } = read({ native: ['messages'] })
  assert.deepEqual(body, request)
  assert.deepEqual(native, { dialect: 'messages', headers: { a: 'b' } })
})

test('what is for the gateway alone reaches no upstream, in no dialect', () => {
  const body = { ...request, cache: { 'no-cache': true } }
  assert.equal('cache' in read({ native: ['messages'] }, body).body, false)
  const bytes = Buffer.from(JSON.stringify({ cache: { ttl: 1 } }))
  assert.equal('cache' in readBody(work(), bytes, { deployment, entry }).body, false)
})

test('what a request is priced and reserved by cannot hide in its extra_body', () => {
  const sent = (extra_body: object) => {
    const bytes = Buffer.from(JSON.stringify({ max_tokens: 1, extra_body }))
    return readBody(work(), bytes, { deployment, entry }).body.extra_body
  }
  for (const name of ['model', 'max_tokens', 'max_completion_tokens', 'n', 'best_of', 'stream']) {
    assert.throws(() => sent({ [name]: 9 }), failsWith('invalid_request', `extra_body.${name}`))
  }
  assert.deepEqual(sent({ guided_json: {} }), { guided_json: {} })
})

test('what the provider does not read of a translated body is left out', () => {
  const plain = read({}).body
  assert.deepEqual(plain, {
    model: 'm',
    max_tokens: 5,
    temperature: 1,
    top_p: 0.9,
    messages: [
      { role: 'system', content: [{ type: 'text', text: 'be brief' }] },
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'hello' },
      { role: 'user', content: 'go on' },
    ],
  })
  const rich = read({ extensions: ['thinking', 'cache_control', 'reasoning_content'] }).body
  assert.deepEqual(rich.thinking, { type: 'adaptive' })
  assert.match(JSON.stringify(rich.messages), /cache_control.*reasoning_content.*thinking_blocks/)
})

test('what only an upstream of the dialect can do is refused elsewhere, by its name', () => {
  const refused = (more: object, param: string) => {
    const body = { ...request, ...more }
    assert.throws(() => read({}, body), failsWith('unsupported_parameter', param))
    assert.equal(read({ native: ['messages'] }, body).native?.dialect, 'messages')
  }
  refused({ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'tools[0].type')
  refused({ mcp_servers: [{ type: 'url', url: 'https://example.com' }] }, 'mcp_servers')
  const source = { type: 'file', file_id: 'file_1' }
  const content = [{ type: 'image', source }]
  refused({ messages: [{ role: 'user', content }] }, 'messages[0].content')
  const result = { type: 'tool_result', tool_use_id: 't', content }
  refused({ messages: [{ role: 'user', content: [result] }] }, 'messages[0].content')
})

test('an answer that money was reserved for is bounded by it, where nothing else bounds it', () => {
  const bounded = (fields: object, more: object = {}, own: number | null = null) => {
    const job = work({ answerLimit: 100, ...more })
    const bytes = Buffer.from(JSON.stringify(fields))
    const target = { deployment: { ...deployment, defaults: {}, maxOutputTokens: own }, entry }
    return readBody(job, bytes, target).body
  }
  assert.deepEqual(bounded({ a: 1 }), { a: 1, max_completion_tokens: 100 })
  assert.deepEqual(bounded({}, { operation: 'completion' }), { max_tokens: 100 })
  assert.deepEqual(bounded({}, { operation: 'embedding' }), {})
  assert.deepEqual(bounded({ max_tokens: 7 }), { max_tokens: 7 })
  assert.deepEqual(bounded({}, {}, 8_000), {})
  assert.deepEqual(bounded({}, { answerLimit: null }), {})
})

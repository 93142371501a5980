// Where a call to an OpenAI-compatible server goes, and what it is sent.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openai, vllm } from './openai.ts'
import { endpointUrl } from './openai-request.ts'
import {
  type CallOptions,
  fixturesOf,
  json,
  runCall,
  sse,
  upstreamForTests,
} from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

const fixture = fixturesOf('openai')
const messages = [{ role: 'user', content: 'Hello!' }]

function run(body: Record<string, unknown>, options: CallOptions = {}, entry = openai) {
  const deployment = { apiBase: `${upstream.origin}/v1`, ...options.deployment }
  return runCall(entry.provider, body, { model: 'gpt-4o', ...options, deployment })
}

test('api_base is taken as users write it', () => {
  const cases = [
    ['http://h:8000', 'http://h:8000/v1/chat/completions'],
    ['http://h:8000/', 'http://h:8000/v1/chat/completions'],
    ['http://h:8000/v1', 'http://h:8000/v1/chat/completions'],
    ['http://h:8000/v1/', 'http://h:8000/v1/chat/completions'],
    ['https://h/api/v3', 'https://h/api/v3/chat/completions'],
    ['https://h/v1/chat/completions', 'https://h/v1/chat/completions'],
    ['https://h/v1?api-version=2', 'https://h/v1/chat/completions?api-version=2'],
  ] as const
  for (const [apiBase, url] of cases) assert.equal(endpointUrl(apiBase, 'chat'), url)
  assert.equal(endpointUrl('http://h', 'completion'), 'http://h/v1/completions')
  assert.equal(endpointUrl('http://h/v1/embeddings', 'embedding'), 'http://h/v1/embeddings')
  assert.throws(() => endpointUrl('no scheme', 'chat'), /not a URL/)
})

test('the client’s fields are kept, the model is the upstream’s, usage is always asked for', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  const body = { model: 'smart', messages, temperature: 0.3, never_heard_of: { a: [1] } }
  await run(body)
  assert.deepEqual(upstream.received[0]?.body, { ...body, model: 'gpt-4o' })
  upstream.answer(sse(fixture('chat-stream.sse')))
  const options = { stream_options: { continuous_usage_stats: true } }
  await run({ ...body, ...options }, { stream: true })
  assert.deepEqual(upstream.received[1]?.body, {
    ...body,
    model: 'gpt-4o',
    stream: true,
    stream_options: { continuous_usage_stats: true, include_usage: true },
  })
})

test('extra_body is lifted out and additional_drop_params are dropped', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  const body = { messages, user: 'u', seed: 7, extra_body: { guided_json: { type: 'object' } } }
  await run(body, { deployment: { additionalDropParams: ['user', 'seed'] } })
  const sent = { model: 'gpt-4o', messages, guided_json: { type: 'object' } }
  assert.deepEqual(upstream.received[0]?.body, sent)
})

test('a model that refuses max_tokens gets it by its newer name', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  const sent = async (model: string, body: object, baseModel: string | null = null) => {
    await run({ messages, ...body }, { model, deployment: { baseModel } })
    const { model: _, messages: __, ...rest } = upstream.received.at(-1)?.body ?? {}
    return rest
  }
  const newer = { max_completion_tokens: 5 }
  assert.deepEqual(await sent('o3-mini', { max_tokens: 5 }), newer)
  assert.deepEqual(await sent('ours', { max_tokens: 5 }, 'gpt-5-mini'), newer)
  assert.deepEqual(await sent('gpt-5', { max_tokens: 9, ...newer }), newer)
  assert.deepEqual(await sent('gpt-4o', { max_tokens: 5 }), { max_tokens: 5 })
})

test('a call that does not stream never asks for a stream', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  const streaming = { stream: true, stream_options: { include_usage: true } }
  for (const body of [streaming, { extra_body: streaming }]) {
    const { usage } = await run({ messages, ...body })
    assert.equal(usage?.promptTokens, 19)
    assert.deepEqual(upstream.received.at(-1)?.body, { model: 'gpt-4o', messages })
  }
})

test('OpenAI gets nothing of what was meant for the gateway', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  const own = { tags: ['t'], data: 'local', session_id: 's', trace: { id: 1 } }
  const sent = async (body: Record<string, unknown>, options?: CallOptions, entry = openai) => {
    await run({ messages, ...body }, options, entry)
    const { model: _, messages: __, ...rest } = upstream.received.at(-1)?.body ?? {}
    return rest
  }
  const tier = { service_tier: 'flex' }
  assert.deepEqual(await sent({ ...tier, priority: 3, metadata: own }), tier)
  const kept = await sent({ metadata: { ...own, order: '7' } })
  assert.deepEqual(kept, { metadata: { order: '7' } })
  const meant = { priority: 3, metadata: { a: 'b' } }
  assert.deepEqual(await sent({ extra_body: meant }), meant)
  // A vLLM takes any metadata, but a priority only where it is started for it.
  assert.deepEqual(await sent({ priority: 3, metadata: own }, {}, vllm), { metadata: own })
  assert.deepEqual(await sent({ extra_body: { priority: 3 } }, {}, vllm), { priority: 3 })
  upstream.answer(json(fixture('embedding-reply.json')))
  const embedding = { operation: 'embedding' } as const
  assert.deepEqual(await sent({ metadata: { a: 'b' } }, embedding), {})
})

test('headers: the key if there is one, the organization, and the configured ones on top', async () => {
  upstream.answer(json(fixture('chat-reply.json')))
  await run({ messages })
  assert.equal(upstream.received[0]?.headers.authorization, undefined)
  await run({ messages }, { deployment: { apiKey: 'sk-1', organization: 'org-1' } })
  assert.equal(upstream.received[1]?.headers.authorization, 'Bearer sk-1')
  assert.equal(upstream.received[1]?.headers['openai-organization'], 'org-1')
  const extraHeaders = { Authorization: 'Basic x', 'X-Team': 'a' }
  await run({ messages }, { deployment: { apiKey: 'sk-1', extraHeaders } })
  assert.equal(upstream.received[2]?.headers.authorization, 'Basic x')
  assert.equal(upstream.received[2]?.headers['x-team'], 'a')
})

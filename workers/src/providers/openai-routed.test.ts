// vLLM's reply is the one of its documentation ("Re-rank API"). Those of OpenAI and Mistral are no
// recordings: they have the fields that the SDK's types and the API reference name.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { azure } from './azure.ts'
import { mistral } from './mistral.ts'
import { openai, textCompletionOpenai, vllm } from './openai.ts'
import type { ProviderEntry } from './provider.ts'
import { testCall } from './provider-test-kit.ts'
import { runOperation } from './run-operation.ts'
import { sim } from './sim.ts'
import { type CallOptions, json, upstreamForTests } from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

type Operation = Parameters<typeof runOperation>[1]

async function run(
  { provider }: ProviderEntry,
  operation: Operation,
  body: Record<string, unknown>,
  options: CallOptions = {},
) {
  const deployment = { apiBase: `${upstream.origin}/v1`, apiKey: 'sk-1', ...options.deployment }
  const call = testCall(body, {
    ...options,
    deployment: { ...testCall({}).deployment, ...deployment },
  })
  const result = await runOperation(provider, operation, call)
  return { ...result, text: Buffer.from(result.body ?? []).toString() }
}

const documents = [
  'The capital of Brazil is Brasilia.',
  'The capital of France is Paris.',
  'Horses and cows are both animals',
]
const ranked = {
  id: 'rerank-fae51b2b664d4ed38f5969b612edff77',
  model: 'BAAI/bge-reranker-base',
  usage: { total_tokens: 56 },
  results: [
    { index: 1, document: { text: documents[1] }, relevance_score: 0.99853515625 },
    { index: 0, document: { text: documents[0] }, relevance_score: 0.0005860328674316406 },
  ],
}

test('vLLM reranks; all its tokens are of the prompt', async () => {
  upstream.answers.push(json(ranked))
  const query = 'What is the capital of France?'
  const { text, usage } = await run(vllm, 'rerank', { query, documents, model: 'alias' })
  assert.equal(text, JSON.stringify(ranked))
  assert.equal(usage?.promptTokens, 56)
  assert.equal(usage?.completionTokens, 0)
  const [{ url, body } = assert.fail()] = upstream.received
  assert.equal(url, '/v1/rerank')
  assert.deepEqual(body, { query, documents, model: 'llama3.2' })
})

test('OpenAI makes images, whose tokens are of images', async () => {
  const reply = {
    created: 1713833628,
    data: [{ b64_json: '...' }],
    usage: {
      total_tokens: 100,
      input_tokens: 50,
      output_tokens: 50,
      input_tokens_details: { text_tokens: 10, image_tokens: 40 },
    },
  }
  upstream.answers.push(json(reply))
  const asked = { prompt: 'A cute baby sea otter', n: 1, size: '1024x1024' }
  const { usage } = await run(openai, 'image', { ...asked, metadata: { tags: ['x'] }, cache: {} })
  assert.partialDeepStrictEqual(usage, {
    promptTokens: 50,
    completionTokens: 50,
    imagePromptTokens: 40,
    imageCompletionTokens: 50,
  })
  const [{ url, body } = assert.fail()] = upstream.received
  assert.equal(url, '/v1/images/generations')
  assert.deepEqual(body, { ...asked, model: 'llama3.2' })
})

test('Azure makes them at the URL of the deployment', async () => {
  upstream.answers.push(json({ created: 1, data: [{ url: 'https://example.com/1.png' }] }))
  const { usage } = await run(
    azure,
    'image',
    { prompt: 'x' },
    { deployment: { apiBase: upstream.origin, defaults: { api_version: '2024-02-01' } } },
  )
  assert.equal(usage, null, 'the older models count no tokens')
  const [{ url } = assert.fail()] = upstream.received
  assert.equal(url, '/openai/deployments/llama3.2/images/generations?api-version=2024-02-01')
})

test('OpenAI and Mistral moderate', async () => {
  const reply = {
    id: 'modr-1',
    model: 'm',
    results: [{ flagged: true, categories: { hate: false } }],
  }
  for (const entry of [openai, mistral]) {
    upstream.answers.push(json(reply))
    const { text, usage } = await run(entry, 'moderation', { input: 'I want to kill them.' })
    assert.equal(text, JSON.stringify(reply))
    assert.equal(usage, null)
  }
  assert.deepEqual(
    upstream.received.map(({ url }) => url),
    ['/v1/moderations', '/v1/moderations'],
  )
})

test('what a provider has no route for is 404 with the reason, and asks no upstream', async () => {
  const missing: [ProviderEntry, Operation][] = [
    [sim, 'image'],
    [vllm, 'moderation'],
    [mistral, 'rerank'],
    [azure, 'rerank'],
    [textCompletionOpenai, 'image'],
  ]
  for (const [entry, operation] of missing) {
    await assert.rejects(run(entry, operation, {}), (error) => {
      assert.ok(error instanceof PenstockError)
      assert.equal(error.code, 'unsupported_parameter')
      assert.equal(error.info.status, 404)
      assert.match(
        error.message,
        new RegExp(`requests for ${operation}: its provider has no route`),
      )
      return true
    })
  }
  assert.deepEqual(upstream.received, [])
})

test("an upstream's 404 for such a route is told, and says nothing against the deployment", async () => {
  upstream.answers.push(json({ error: { message: 'Invalid URL (POST /v1/rerank)' } }, 404))
  await assert.rejects(run(openai, 'rerank', { query: 'x', documents }), (error) => {
    assert.ok(error instanceof PenstockError)
    assert.equal(error.code, 'unsupported_parameter')
    assert.equal(error.info.status, 404)
    return true
  })
})

test("an upstream's refusal keeps its status; what is no reply is its fault", async () => {
  upstream.answers.push(json({ error: { message: 'slow down', type: 'x' } }, 429))
  await assert.rejects(run(openai, 'moderation', { input: 'x' }), { code: 'upstream_rate_limited' })
  for (const reply of ['not JSON', { data: [] }, { results: [1] }]) {
    upstream.answers.length = 0
    upstream.answers.push(json(reply))
    const asked = run(openai, 'moderation', { input: 'x' })
    await assert.rejects(asked, { code: 'upstream_invalid_response' })
  }
})

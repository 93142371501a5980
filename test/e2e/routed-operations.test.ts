// Moderations, rerankings and images through the whole of Penstock, asked by the unmodified OpenAI SDK
// where it has a call for them, and what the books say of them.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { json, startUpstream, type Upstream } from '@penstock/workers/providers/upstream-test-kit'
import OpenAI from 'openai'
import { errorOf, requestIdOf } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

let servers: Servers
let upstream: Upstream
let stack: Stack
let client: OpenAI

before(async () => {
  servers = await startServers()
  upstream = await startUpstream()
  const at = { api_base: `${upstream.origin}/v1`, api_key: 'sk-1' }
  const groups = {
    'omni-moderation-latest': { model: 'openai/omni-moderation-latest', ...at },
    reranker: { model: 'hosted_vllm/BAAI/bge-reranker-base', ...at },
    painter: { model: 'openai/gpt-image-1', ...at },
    talker: { model: 'sim/lorem' },
  }
  const model_list = Object.entries(groups).map(([model_name, litellm_params]) => ({
    model_name,
    litellm_params,
  }))
  stack = await startStack({ servers, config: { model_list } })
  client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
after(async () => {
  await stack.close()
  await upstream.close()
  await servers.close()
})

function answers(reply: object): void {
  upstream.answers.length = 0
  upstream.answers.push(json(reply))
}

test('a moderation, of the model that OpenAI takes where none is named', async () => {
  answers({ id: 'modr-1', model: 'omni-moderation-latest', results: [{ flagged: true }] })
  const { data, response } = await client.moderations.create({ input: 'text' }).withResponse()
  assert.equal(data.results[0]?.flagged, true)
  const id = response.headers.get('x-penstock-request-id') ?? ''
  const [row] = await stack.spend.attempts(id, 1)
  assert.equal(row?.call_type, 'amoderation')
  assert.equal(row?.usage_estimated, true)
})

test('a large image, at the price of its tokens', async () => {
  const b64_json = 'A'.repeat(3_000_000)
  const details = { text_tokens: 10, image_tokens: 0 }
  const usage = { total_tokens: 1_010, input_tokens: 10, output_tokens: 1_000 }
  answers({ created: 1, data: [{ b64_json }], usage: { ...usage, input_tokens_details: details } })
  const { data, response } = await client.images
    .generate({ model: 'painter', prompt: 'an otter' })
    .withResponse()
  assert.equal(data.data?.[0]?.b64_json?.length, b64_json.length)
  const [row] = await stack.spend.attempts(response.headers.get('x-penstock-request-id') ?? '', 1)
  assert.ok(row !== undefined)
  const { call_type, prompt_tokens, completion_tokens, cost_source } = row
  assert.deepEqual(
    { call_type, prompt_tokens, completion_tokens, cost_source },
    {
      call_type: 'aimage_generation',
      prompt_tokens: 10,
      completion_tokens: 1_000,
      cost_source: 'price-table',
    },
  )
  assert.ok(row.spend > 0)
  const streamed = await stack.client.post('/v1/images/generations', {
    model: 'painter',
    prompt: 'an otter',
    stream: true,
  })
  assert.equal(streamed.status, 400)
  assert.equal(errorOf(streamed).param, 'stream')
})

test('a reranking, and a model without that route', async () => {
  const reply = {
    id: 'r',
    usage: { total_tokens: 56 },
    results: [{ index: 0, relevance_score: 1 }],
  }
  answers(reply)
  const body = { model: 'reranker', query: 'q', documents: ['one', { text: 'two' }] }
  const answer = await stack.client.post('/v1/rerank', body)
  assert.deepEqual(answer.json, reply)
  const [row] = await stack.spend.attempts(requestIdOf(answer), 1)
  assert.equal(row?.call_type, 'arerank')
  assert.equal(row?.prompt_tokens, 56)
  const refused = await stack.client.post('/v1/rerank', { ...body, model: 'talker' })
  assert.equal(refused.status, 404)
  assert.match(errorOf(refused).message, /has no route/)
})

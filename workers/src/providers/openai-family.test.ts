// The OpenAI-compatible family: each member's address, and what differs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lookUpPrices } from '@penstock/shared/pricing/price-table'
import { azure } from './azure.ts'
import { gemini } from './gemini.ts'
import { codestral, mistral } from './mistral.ts'
import { openAiFamily } from './openai-family.ts'
import { endpointUrl } from './openai-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'
import { resolveProvider } from './resolve.ts'
import {
  type CallOptions,
  fixturesOf,
  json,
  runCall,
  sse,
  upstreamForTests,
} from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

const fixture = fixturesOf('openai-family')
const messages = [{ role: 'user', content: 'Hello!' }]
const reply = { id: 'a', object: 'chat.completion', choices: [{ index: 0, message: {} }] }

function run(model: string, body: Record<string, unknown>, options: CallOptions = {}) {
  const { deployment } = testCall(body, { deployment: { model, ...options.deployment } })
  const { entry, model: name } = resolveProvider(deployment, {})
  const at = { ...deployment, apiBase: deployment.apiBase ?? `${upstream.origin}/v1` }
  return runCall(entry.provider, body, { ...options, model: name, deployment: at })
}

test('each member has its endpoint, its key’s variable and its price list', () => {
  const endpoints = openAiFamily.map(({ prefixes, apiBase, apiKeyEnv, pricesAs }) => [
    prefixes[0],
    endpointUrl(apiBase ?? '', 'chat'),
    apiKeyEnv,
    pricesAs,
  ])
  const cloud = (name: string, url: string, env: string, prices: string) => [name, url, env, prices]
  assert.deepEqual(endpoints, [
    cloud(
      'deepseek',
      'https://api.deepseek.com/v1/chat/completions',
      'DEEPSEEK_API_KEY',
      'deepseek',
    ),
    cloud('groq', 'https://api.groq.com/openai/v1/chat/completions', 'GROQ_API_KEY', 'groq'),
    cloud(
      'together_ai',
      'https://api.together.xyz/v1/chat/completions',
      'TOGETHERAI_API_KEY',
      'together',
    ),
    cloud(
      'openrouter',
      'https://openrouter.ai/api/v1/chat/completions',
      'OPENROUTER_API_KEY',
      'openrouter',
    ),
    cloud('xai', 'https://api.x.ai/v1/chat/completions', 'XAI_API_KEY', 'x-ai'),
    cloud(
      'fireworks_ai',
      'https://api.fireworks.ai/inference/v1/chat/completions',
      'FIREWORKS_API_KEY',
      'fireworks',
    ),
    cloud(
      'perplexity',
      'https://api.perplexity.ai/chat/completions',
      'PERPLEXITYAI_API_KEY',
      'perplexity',
    ),
    ['lm_studio', 'http://127.0.0.1:1234/v1/chat/completions', 'LM_STUDIO_API_KEY', undefined],
    ['llamafile', 'http://127.0.0.1:8080/v1/chat/completions', 'LLAMAFILE_API_KEY', undefined],
  ])
})

test('the price lists are known by these names', () => {
  const sold = {
    azure: 'gpt-4o',
    deepseek: 'deepseek-chat',
    fireworks: 'accounts/fireworks/models/deepseek-v3p2',
    google: 'gemini-2.5-flash',
    groq: 'llama-3.3-70b-versatile',
    mistral: 'codestral-latest',
    openrouter: 'openai/gpt-4o',
    perplexity: 'sonar',
    together: 'meta-llama/Llama-3.3-70B-Instruct-Turbo',
    'x-ai': 'grok-3',
  }
  for (const [provider, model] of Object.entries(sold)) {
    const prices = lookUpPrices({ provider, model, at: Date.now(), promptTokens: 1 })
    assert.notEqual(prices?.input, undefined, provider)
  }
  for (const { pricesAs } of [...openAiFamily, azure, gemini, mistral, codestral]) {
    assert.ok(pricesAs === undefined || Object.hasOwn(sold, pricesAs), pricesAs)
  }
})

test('a key may stand in any of the variables that LiteLLM reads', () => {
  const { deployment } = testCall({}, { deployment: { model: 'together_ai/m' } })
  const keyFrom = (env: Record<string, string>) => resolveProvider(deployment, env).apiKey
  assert.equal(keyFrom({ TOGETHER_API_KEY: 'other' }), 'other')
  assert.equal(keyFrom({ TOGETHER_API_KEY: 'other', TOGETHERAI_API_KEY: 'first' }), 'first')
})

test('recorded streams pass through, and their usage is read', async () => {
  const cases = [
    ['groq/llama-3.3-70b-versatile', 'groq-tool-call.sse', [210, 15, 0]],
    ['xai/grok-3-mini', 'xai-tool-call.sse', [291, 222, 196]],
    ['perplexity/sonar', 'perplexity.sse', [11, 434, 0]],
  ] as const
  for (const [model, name, counts] of cases) {
    for (const size of [1, 1_000]) {
      upstream.answer(sse(fixture(name), size))
      const { text, usage } = await run(model, { messages }, { stream: true, includeUsage: true })
      assert.equal(text, fixture(name).replace('data: [DONE]\n\n', ''))
      const { promptTokens, completionTokens, reasoningTokens } = usage ?? {}
      assert.deepEqual([promptTokens, completionTokens, reasoningTokens], counts)
    }
  }
})

test('what a member is known to refuse is refused by name, or dropped', async () => {
  upstream.answers.push(json(reply))
  const refuse = failsWith('unsupported_parameter', 'logprobs')
  await assert.rejects(run('groq/m', { messages, logprobs: true }), refuse)
  const body = { messages, n: 1, logprobs: false, logit_bias: {}, top_logprobs: 3, seed: 7 }
  await run('groq/m', body, { deployment: { dropParams: true } })
  const kept = { messages, n: 1, logprobs: false, logit_bias: {}, seed: 7, model: 'm' }
  assert.deepEqual(upstream.received[0]?.body, kept)
  await assert.rejects(
    run('groq/m', { input: 'x' }, { operation: 'embedding' }),
    failsWith('unsupported_parameter'),
  )
})

test('Fireworks’ own models may be named in short', async () => {
  upstream.answers.push(json(reply))
  await run('fireworks_ai/deepseek-v3p2', { messages })
  await run('fireworks_ai/accounts/me/deployedModels/x', { messages })
  assert.deepEqual(
    upstream.received.map(({ body }) => body.model),
    ['accounts/fireworks/models/deepseek-v3p2', 'accounts/me/deployedModels/x'],
  )
  const { deployment } = testCall({}, { deployment: { model: 'fireworks_ai/*' } })
  const { entry, model } = resolveProvider(deployment, {})
  assert.equal(model, 'accounts/fireworks/models/*')
  const filled = { model: 'accounts/fireworks/models/accounts/me/x', deployment }
  const at = { ...deployment, apiBase: upstream.origin }
  await runCall(entry.provider, { messages }, { ...filled, deployment: at })
  assert.equal(upstream.received.at(-1)?.body.model, 'accounts/me/x')
})

test('what was meant for the gateway stays here, but a local server gets it as it is', async () => {
  upstream.answers.push(json(reply))
  const body = { messages, metadata: { tags: ['a'] } }
  await run('openrouter/openai/gpt-4o', { ...body, route: 'fallback' })
  await run('lm_studio/qwen', body)
  const [cloud, local] = upstream.received
  assert.deepEqual(cloud?.body, { messages, model: 'openai/gpt-4o', route: 'fallback' })
  assert.deepEqual(local?.body, { ...body, model: 'qwen' })
})

// cline/cline#3120 (xAI); evalstate/fast-agent#621 (DeepSeek).
test('a prompt that is too long is told by the sentences of those without a code', async () => {
  const said = [
    "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
    "This model's maximum context length is 131072 tokens. However, you requested 131134 tokens",
  ]
  for (const message of said) {
    upstream.answer(json({ error: { message, code: 'invalid_request_error' } }, 400))
    await assert.rejects(run('xai/grok-3', { messages }), failsWith('context_window_exceeded'))
  }
})

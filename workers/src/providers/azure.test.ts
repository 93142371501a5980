// Azure OpenAI: where a call goes, with which credentials, and what the content filter adds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { azure, azureUrl } from './azure.ts'
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

const fixture = fixturesOf('azure')
const messages = [{ role: 'user', content: 'Hello!' }]
const reply = { id: 'a', object: 'chat.completion', choices: [{ index: 0, message: {} }] }

function run(body: Record<string, unknown>, options: CallOptions = {}) {
  const deployment = { model: 'azure/gpt-4o-eu', apiBase: upstream.origin, ...options.deployment }
  return runCall(azure.provider, body, { model: 'gpt-4o-eu', ...options, deployment })
}

test('the URL has the deployment for a dated version, and none for the v1 API', () => {
  const dated = 'https://r.openai.azure.com/openai/deployments/gpt-4o/chat/completions'
  const v1 = 'https://r.openai.azure.com/openai/v1/chat/completions'
  const cases = [
    ['https://r.openai.azure.com', '2024-10-21', `${dated}?api-version=2024-10-21`],
    ['https://r.openai.azure.com/', '2024-10-21', `${dated}?api-version=2024-10-21`],
    ['https://r.openai.azure.com/openai', '2024-10-21', `${dated}?api-version=2024-10-21`],
    ['https://r.openai.azure.com?api-version=2024-06-01', null, `${dated}?api-version=2024-06-01`],
    [`${dated}?api-version=2024-06-01`, '2024-10-21', `${dated}?api-version=2024-10-21`],
    ['https://r.openai.azure.com', null, v1],
    ['https://r.openai.azure.com/openai/v1/', null, v1],
    ['https://r.openai.azure.com/openai/v1?api-version=2024-06-01', '2024-10-21', v1],
    ['https://r.openai.azure.com', 'preview', `${v1}?api-version=preview`],
    ['https://r.openai.azure.com', 'latest', `${v1}?api-version=latest`],
    ['https://apim.example/team', null, 'https://apim.example/team/openai/v1/chat/completions'],
  ] as const
  for (const [apiBase, version, url] of cases) {
    assert.equal(azureUrl(apiBase, 'gpt-4o', 'chat', version), url)
  }
  assert.match(
    azureUrl('http://h', 'a b/c', 'embedding', '2024-10-21'),
    /\/a%20b%2Fc\/embeddings\?/,
  )
})

test('a key goes into api-key, an Entra token is a bearer; neither gets into the body', async () => {
  upstream.answers.push(json(reply))
  const defaults = { api_version: '2024-10-21', azure_ad_token: 'eyJ-token' }
  await run({ messages }, { deployment: { apiKey: 'azure-key' } })
  const entra = { deployment: { apiKey: null, defaults } }
  await run({ ...defaults, messages, client_secret: 's', tenant_id: 't' }, entra)
  const [keyed, tokened] = upstream.received
  assert.equal(keyed?.headers['api-key'], 'azure-key')
  assert.equal(keyed?.headers.authorization, undefined)
  assert.equal(tokened?.headers.authorization, 'Bearer eyJ-token')
  assert.equal(tokened?.headers['api-key'], undefined)
  const path = '/openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21'
  assert.equal(tokened?.url, path)
  assert.deepEqual(tokened?.body, { messages, model: 'gpt-4o-eu' })
})

test('a client cannot choose the version or the token', async () => {
  upstream.answers.push(json(reply))
  const body = { messages, api_version: '2020-01-01', azure_ad_token: 'stolen' }
  await run(body, { deployment: { apiKey: 'k' } })
  const [received] = upstream.received
  assert.equal(received?.url, '/openai/v1/chat/completions')
  assert.equal(received?.headers.authorization, undefined)
  assert.deepEqual(Object.keys(received?.body ?? {}), ['messages', 'model'])
})

test('address, key and version come from LiteLLM’s variables where the config names none', () => {
  const { deployment } = testCall({}, { deployment: { model: 'azure/o_series/o4' } })
  const resolved = resolveProvider(deployment, {
    AZURE_API_BASE: 'https://r.openai.azure.com',
    AZURE_API_KEY: 'k',
    AZURE_API_VERSION: '2024-10-21',
  })
  assert.deepEqual(
    [resolved.model, resolved.apiBase, resolved.apiKey, resolved.defaults],
    ['o4', 'https://r.openai.azure.com', 'k', { api_version: '2024-10-21' }],
  )
  assert.throws(() => resolveProvider(deployment, {}), /api_base is missing; .*AZURE_API_BASE/)
})

test('what the content filter says passes through, whole and streamed', async () => {
  const bytes = fixture('chat-stream.sse')
  const options = { stream: true, includeUsage: true }
  for (const size of [1, 7, bytes.length]) {
    upstream.answer(sse(bytes, size))
    const { text } = await run({ messages }, options)
    assert.equal(text, bytes.replace('data: [DONE]\n\n', ''))
  }
  upstream.answer(json(fixture('not-filtered-reply.json')))
  const whole = await run({ prompt: 'x' }, { operation: 'completion' })
  assert.equal(Buffer.from(whole.body ?? []).toString(), fixture('not-filtered-reply.json'))
})

test('each refusal of Azure’s has its code', async () => {
  const inner = { code: 'ResponsibleAIPolicyViolation', content_filter_result: {} }
  const filtered = { error: { code: null, message: 'no', status: 400, innererror: inner } }
  const cases = [
    [400, fixture('filtered-error.json'), 'content_policy_violation'],
    [400, JSON.stringify(filtered), 'content_policy_violation'],
    [400, '{"error":{"code":"context_length_exceeded","message":"x"}}', 'context_window_exceeded'],
    [401, '{"error":{"code":"401","message":"Access denied"}}', 'upstream_auth_failed'],
    [404, '{"error":{"code":"DeploymentNotFound","message":"x"}}', 'upstream_not_found'],
    [429, '{"error":{"code":"429","message":"Rate limit"}}', 'upstream_rate_limited'],
    [500, '{"error":{"code":"InternalServerError","message":"x"}}', 'upstream_error'],
  ] as const
  for (const [status, body, code] of cases) {
    upstream.answer(json(body, status))
    for (const stream of [false, true]) {
      await assert.rejects(run({ messages }, { stream }), failsWith(code))
    }
  }
})

// Which provider serves which model, and where its address, key and locality come from.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testCall } from './provider-test-kit.ts'
import { isPrivate, resolveProvider } from './resolve.ts'
import { providers } from './table.ts'

const deployment = (model: string, more = {}) =>
  testCall({}, { deployment: { group: 'g', model, ...more } }).deployment

test('a prefix names the provider, the rest is the model, slashes and colons included', () => {
  const cases = [
    ['openai/gpt-4o', 'openai', 'gpt-4o'],
    ['hosted_vllm/meta-llama/Llama-3.1-8B', 'hosted_vllm', 'meta-llama/Llama-3.1-8B'],
    ['vllm/qwen', 'vllm', 'qwen'],
    ['ollama_chat/llama3:8b', 'ollama_chat', 'llama3:8b'],
    ['text-completion-openai/codegemma', 'text-completion-openai', 'codegemma'],
    ['sim/lorem', 'sim', 'lorem'],
    ['anthropic/claude-opus-5', 'anthropic', 'claude-opus-5'],
    ['bedrock/us.amazon.nova-pro-v1:0', 'bedrock', 'us.amazon.nova-pro-v1:0'],
    ['bedrock/converse/amazon.nova-pro-v1:0', 'bedrock', 'amazon.nova-pro-v1:0'],
    ['bedrock/us-west-2/cohere.command-r-v1:0', 'bedrock', 'cohere.command-r-v1:0'],
    ['openai/*', 'openai', '*'],
  ] as const
  for (const [written, prefix, model] of cases) {
    const resolved = resolveProvider(deployment(written, { apiBase: 'http://h/v1' }), {})
    assert.deepEqual([resolved.prefix, resolved.model], [prefix, model])
    assert.ok(resolved.entry.prefixes.includes(prefix))
  }
})

test('bare names belong to the provider that owns them', () => {
  const owned = [
    'gpt-4o',
    'gpt-5.4-mini',
    'o1',
    'o3-mini',
    'o4-mini-2025-04-16',
    'chatgpt-4o-latest',
    'text-embedding-3-small',
    'ft:gpt-4o-mini:org::id',
  ]
  for (const model of owned) {
    const resolved = resolveProvider(deployment(model), {})
    assert.deepEqual([resolved.prefix, resolved.model], ['openai', model])
  }
  for (const model of ['gpt-oss:20b', 'llama3', 'o', 'open-mistral', 'claudette']) {
    assert.throws(() => resolveProvider(deployment(model), {}), /unknown provider/)
  }
})

test('an unknown provider is an error that names the deployment and the known prefixes', () => {
  assert.throws(
    () => resolveProvider(deployment('watsonx/granite'), {}),
    /^Error: The deployment of g with model watsonx\/granite: unknown provider; known are openai\/, .*sim\/$/,
  )
})

test('no prefix stands twice in the table', () => {
  const prefixes = providers.flatMap((entry) => entry.prefixes)
  assert.equal(new Set(prefixes).size, prefixes.length)
})

test('address and key: the deployment’s, else the environment’s, else the provider’s', () => {
  const from = (model: string, more: object, env: Record<string, string>) => {
    const { apiBase, apiKey } = resolveProvider(deployment(model, more), env)
    return [apiBase, apiKey]
  }
  const env = {
    OPENAI_API_KEY: 'sk-env\n',
    OPENAI_BASE_URL: 'http://env/v1',
    HOSTED_VLLM_API_BASE: 'http://vllm',
  }
  assert.deepEqual(from('gpt-4o', {}, {}), ['https://api.openai.com/v1', null])
  assert.deepEqual(from('gpt-4o', {}, { OPENAI_API_KEY: '' }), ['https://api.openai.com/v1', null])
  assert.deepEqual(from('gpt-4o', {}, env), ['http://env/v1', 'sk-env'])
  const own = { apiBase: 'http://own', apiKey: 'sk-own' }
  assert.deepEqual(from('gpt-4o', own, env), ['http://own', 'sk-own'])
  assert.deepEqual(from('hosted_vllm/m', {}, env), ['http://vllm', null])
  assert.throws(() => from('hosted_vllm/m', {}, {}), /api_base is missing; .*HOSTED_VLLM_API_BASE/)
  assert.deepEqual(from('hosted_vllm/m', { mockResponse: 'hi' }, {}), [null, null])
})

test('data stays local at private addresses, leaves elsewhere, unless the config says', () => {
  const locality = (model: string, more: object) =>
    resolveProvider(deployment(model, more), {}).locality
  assert.equal(locality('gpt-4o', {}), 'cloud')
  assert.equal(locality('openai/x', { apiBase: 'http://192.168.1.5:8000/v1' }), 'local')
  assert.equal(locality('openai/x', { apiBase: 'https://api.groq.com/openai/v1' }), 'cloud')
  assert.equal(locality('openai/x', { apiBase: 'http://10.0.0.1', dataLocality: 'cloud' }), 'cloud')
  assert.equal(locality('hosted_vllm/x', { apiBase: 'https://gpu.example.com' }), 'local')
  const vllm = { apiBase: 'https://gpu.example.com', dataLocality: 'cloud' }
  assert.equal(locality('hosted_vllm/x', vllm), 'cloud')
  assert.equal(locality('sim/lorem', {}), 'local')
})

test('private addresses are told from public ones', () => {
  const local = [
    'http://localhost:8000',
    'http://127.1.2.3',
    'http://2130706433',
    'http://0.0.0.0:1',
    'http://10.1.2.3',
    'http://172.16.0.1',
    'http://172.31.255.255',
    'http://192.168.0.1',
    'http://169.254.1.1',
    'http://100.100.1.1',
    'http://[::1]:8000',
    'http://[fd00::1]',
    'http://[fe80::1]',
    'http://[::ffff:10.0.0.1]',
    'http://ollama:11434',
    'http://gpu1.local',
    'http://vllm.models.svc.cluster.local',
    'http://host.docker.internal:11434',
  ]
  const cloud = [
    'https://api.openai.com/v1',
    'http://172.32.0.1',
    'http://11.0.0.1',
    'http://100.128.0.1',
    'http://8.8.8.8',
    'http://[2606:4700::1]',
    'http://[::ffff:8.8.8.8]',
    'http://local.example.com',
    'http://10.0.0.1.nip.io',
    'not a url',
  ]
  for (const url of local) assert.equal(isPrivate(url), true, url)
  for (const url of cloud) assert.equal(isPrivate(url), false, url)
  assert.equal(isPrivate(null), false)
})

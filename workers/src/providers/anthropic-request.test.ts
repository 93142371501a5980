// OpenAI's chat requests as Anthropic's (docs: api/messages): every field that a client may send.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anthropicBody, anthropicRequest } from './anthropic-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>
const messages = [{ role: 'user', content: 'Hello' }]
const user = { role: 'user', content: [{ type: 'text', text: 'Hello' }] }
const base = { model: 'claude-sonnet-4-5', max_tokens: 4096, messages: [user], stream: false }

function request(body: Record<string, unknown>, options: CallOptions = {}) {
  return anthropicBody(testCall({ messages, ...body }, { model: 'claude-sonnet-4-5', ...options }))
}

const called = (id: string, name: string, json: string) => ({
  id,
  type: 'function',
  function: { name, arguments: json },
})

test('a plain request has the model, the required max_tokens and the messages', () => {
  assert.deepEqual(request({ model: 'group' }), base)
  assert.deepEqual(request({ stream: true }, { stream: true }), { ...base, stream: true })
})

test('limits, sampling and stops have Anthropic’s names', () => {
  assert.equal(request({ max_tokens: 5 }).max_tokens, 5)
  assert.equal(request({ max_tokens: 5, max_completion_tokens: 7 }).max_tokens, 7)
  assert.throws(() => request({ max_tokens: 0 }), failsWith('invalid_request', 'max_tokens'))
  const { temperature, top_p: topP, top_k: topK } = request({ temperature: 0, top_p: 1, top_k: 4 })
  assert.deepEqual([temperature, topP, topK], [0, 1, 4])
  assert.deepEqual(request({ stop: 'END' }).stop_sequences, ['END'])
  assert.deepEqual(request({ stop: ['a', '\n', 'b'] }).stop_sequences, ['a', 'b'])
  assert.equal('stop_sequences' in request({ stop: ['\n'] }), false)
})

test('an effort is a budget for older models and an effort for newer ones', () => {
  const thinking = (model: string, more: Record<string, unknown>) => {
    const body = request(more, { model })
    return [body.thinking, body.output_config, body.max_tokens]
  }
  const budget = (tokens: number) => ({ type: 'enabled', budget_tokens: tokens })
  const adaptive = { type: 'adaptive', display: 'summarized' }
  const high = { reasoning_effort: 'high' }
  assert.deepEqual(thinking('claude-sonnet-4-5', high), [budget(4096), undefined, 8192])
  assert.deepEqual(thinking('claude-3-7-sonnet-latest', { reasoning: { effort: 'low' } }), [
    budget(1024),
    undefined,
    5120,
  ])
  assert.deepEqual(thinking('claude-opus-4-6', high), [adaptive, { effort: 'high' }, 4096])
  assert.deepEqual(thinking('claude-sonnet-5', { reasoning_effort: 'minimal' }), [
    adaptive,
    { effort: 'low' },
    4096,
  ])
  assert.deepEqual(thinking('claude-opus-5', { reasoning_effort: 'none' }), [
    undefined,
    undefined,
    4096,
  ])
  const given = { type: 'enabled', budget_tokens: 2000 }
  assert.deepEqual(thinking('claude-sonnet-4-5', { thinking: given }), [given, undefined, 6096])
})

test('an effort gives way to max_tokens and to a conversation without its thinking', () => {
  const limited = (limit: number) =>
    request({ reasoning_effort: 'high', max_completion_tokens: limit })
  assert.deepEqual(limited(3000).thinking, { type: 'enabled', budget_tokens: 2999 })
  assert.equal(limited(1024).thinking, undefined)
  const history = [
    ...messages,
    { role: 'assistant', tool_calls: [called('a', 'get_weather', '{}')] },
    { role: 'tool', tool_call_id: 'a', content: 'rain' },
  ]
  const body = { messages: history, reasoning_effort: 'high' }
  assert.equal(request(body).thinking, undefined)
  assert.notEqual(request(body, { model: 'claude-opus-4-6' }).thinking, undefined)
})

test('what a model cannot do is refused by name, or left out with drop_params', () => {
  const cases = [
    ['claude-sonnet-4-5', 'logprobs', true],
    ['claude-sonnet-4-5', 'seed', 1],
    ['claude-sonnet-4-5', 'n', 2],
    ['claude-sonnet-4-5', 'presence_penalty', 0.5],
    ['claude-sonnet-4-5', 'functions', [{}]],
    ['claude-sonnet-4-5', 'reasoning_effort', 'huge'],
    ['claude-3-5-haiku-latest', 'reasoning_effort', 'low'],
    ['claude-opus-4-7', 'temperature', 0.2],
    ['claude-mythos-preview', 'top_k', 5],
  ] as const
  for (const [model, name, value] of cases) {
    const body = { [name]: value }
    assert.throws(() => request(body, { model }), failsWith('unsupported_parameter', name))
    const dropped = request(body, { model, deployment: { dropParams: true } })
    assert.deepEqual(dropped, { ...base, model })
    const additional = request(body, { model, deployment: { additionalDropParams: [name] } })
    assert.deepEqual(additional, { ...base, model })
  }
  const harmless = { n: 1, presence_penalty: 0, logit_bias: {}, seed: null, logprobs: false }
  assert.deepEqual(request({ ...harmless, modalities: ['text'], store: true }), base)
  const { temperature } = request({ temperature: 1 }, { model: 'claude-opus-4-7' })
  assert.equal(temperature, 1)
})

test('a base model says what an alias can do', () => {
  const deployment = { baseModel: 'claude-3-5-sonnet-20241022' }
  const { tool_choice: choice } = request(
    { response_format: { type: 'json_object' } },
    { model: 'our-claude', deployment },
  )
  assert.deepEqual(choice, { type: 'tool', name: 'json_tool_call' })
})

test('users, tiers and unknown fields: what Anthropic may know goes along', () => {
  assert.deepEqual(request({ user: 'u-1' }).metadata, { user_id: 'u-1' })
  assert.deepEqual(request({ user: 'u-1', metadata: { user_id: 'm', tags: ['a'] } }).metadata, {
    user_id: 'm',
  })
  for (const person of ['ann@example.com', '+44 20 7946 0958']) {
    assert.equal('metadata' in request({ user: person }), false)
  }
  assert.equal('service_tier' in request({ service_tier: 'priority' }), false)
  assert.equal(request({ service_tier: 'standard_only' }).service_tier, 'standard_only')
  assert.equal(request({ speed: 'fast' }).speed, 'fast')
  assert.equal(request({ extra_body: { container: 'c' } }).container, 'c')
})

test('the address and the headers', () => {
  const sent = (deployment: NonNullable<CallOptions['deployment']>, body = {}) =>
    anthropicRequest(testCall({ messages, ...body }, { deployment }))
  const url = 'https://h/v1/messages'
  for (const apiBase of ['https://h', 'https://h/', 'https://h/v1', 'https://h/v1/messages']) {
    assert.equal(sent({ apiBase }).url, url)
  }
  assert.equal(
    sent({ apiBase: 'https://h/anthropic?a=b' }).url,
    'https://h/anthropic/v1/messages?a=b',
  )
  assert.throws(() => sent({ apiBase: null }), failsWith('upstream_unreachable'))
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'penstock',
    'anthropic-version': '2023-06-01',
  }
  assert.deepEqual(sent({ apiBase: 'https://h' }).headers, headers)
  const extraHeaders = { 'Anthropic-Version': '2026-10-21', 'anthropic-beta': 'a' }
  const deployment = { apiBase: 'https://h', apiKey: 'sk-ant-1', extraHeaders }
  assert.deepEqual(sent(deployment, { anthropic_beta: ['b', 'c\r\nx: y'] }).headers, {
    ...headers,
    'anthropic-version': '2026-10-21',
    'x-api-key': 'sk-ant-1',
    'anthropic-beta': 'a,b',
  })
})

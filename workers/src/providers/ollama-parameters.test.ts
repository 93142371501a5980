import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Deployment } from '@penstock/shared/config/deployment'
import { mapParameters } from './ollama-parameters.ts'
import { failsWith, testCall } from './provider-test-kit.ts'

const rules = {
  own: new Set(['messages']),
  native: new Set(['keep_alive', 'think', 'format']),
  refused: new Map([['logprobs', () => true]]),
}

function fields(body: Record<string, unknown>, deployment: Partial<Deployment> = {}) {
  return mapParameters(testCall(body, { deployment }), rules).fields
}

test("OpenAI's sampling fields become Ollama's options", () => {
  const sampling = {
    temperature: 0,
    top_p: 0.5,
    seed: 7,
    frequency_penalty: 1,
    presence_penalty: 2,
  }
  assert.deepEqual(fields({ ...sampling, max_tokens: 20, stop: 'END' }), {
    options: { ...sampling, num_predict: 20, stop: ['END'] },
  })
})

test('max_completion_tokens goes before the older max_tokens', () => {
  const mapped = fields({ max_tokens: 20, max_completion_tokens: 30, stop: ['a', 'b'] })
  assert.deepEqual(mapped, { options: { num_predict: 30, stop: ['a', 'b'] } })
})

test("Ollama's own options pass, those that are not known here too", () => {
  const own = { num_ctx: 8192, top_k: 5, min_p: 0.1, mirostat: 2, not_yet_invented: true }
  assert.deepEqual(fields(own), { options: own })
})

test('options merge: defaults, then the options object, then single fields', () => {
  const deployment = { defaults: { options: { num_ctx: 4096, top_k: 1, temperature: 1 } } }
  const body = { options: { top_k: 2, temperature: 0.9 }, temperature: 0.2 }
  assert.deepEqual(fields(body, deployment), {
    options: { num_ctx: 4096, top_k: 2, temperature: 0.2 },
  })
})

test('null is not set, and bookkeeping is not sent', () => {
  const bookkeeping = {
    model: 'local',
    stream: true,
    stream_options: { include_usage: true },
    user: 'u',
    metadata: { a: '1' },
    store: false,
    service_tier: 'auto',
    priority: 5,
    parallel_tool_calls: true,
    messages: [],
  }
  assert.deepEqual(fields({ ...bookkeeping, temperature: null, n: null, logit_bias: null }), {})
})

test('keep_alive stands at the top, not among the options', () => {
  assert.deepEqual(fields({ keep_alive: '10m' }), { keep_alive: '10m' })
})

test('response_format becomes format', () => {
  const schema = { type: 'object', properties: { age: { type: 'integer' } } }
  const format = (value: unknown) => fields({ response_format: value }).format
  assert.equal(format({ type: 'text' }), undefined)
  assert.equal(format({ type: 'json_object' }), 'json')
  assert.deepEqual(format({ type: 'json_schema', json_schema: { name: 'p', schema } }), schema)
  assert.equal(format({ type: 'json_schema', json_schema: { name: 'p' } }), 'json')
  assert.throws(() => format({ type: 'grammar' }), failsWith('invalid_request'))
})

test('reasoning_effort becomes think, and think itself goes before it', () => {
  const think = (body: Record<string, unknown>) => fields(body).think
  assert.equal(think({ reasoning_effort: 'none' }), false)
  assert.equal(think({ reasoning_effort: 'minimal' }), 'low')
  assert.equal(think({ reasoning_effort: 'high' }), 'high')
  assert.equal(think({ reasoning: { effort: 'medium' } }), 'medium')
  assert.equal(think({ reasoning_effort: 'high', think: false }), false)
  assert.equal(think({}), undefined)
})

for (const [name, value] of [
  ['n', 2],
  ['best_of', 3],
  ['echo', true],
  ['logit_bias', { 5: -100 }],
  ['functions', [{ name: 'f' }]],
  ['modalities', ['text', 'audio']],
  ['audio', { voice: 'alloy' }],
  ['reasoning_effort', 'galactic'],
  ['logprobs', 3],
] as const) {
  test(`${name} is refused by name, and left out where the deployment drops it`, () => {
    const body = { [name]: value }
    assert.throws(() => fields(body), failsWith('unsupported_parameter', name))
    assert.deepEqual(fields(body, { dropParams: true }), {})
    assert.deepEqual(fields(body, { additionalDropParams: [name] }), {})
  })
}

test('a value that asks for what Ollama does anyway is not refused and not sent', () => {
  const body = { n: 1, best_of: 1, echo: false, logit_bias: {}, modalities: ['text'] }
  assert.deepEqual(fields(body), {})
})

test('additional_drop_params drops a supported field too', () => {
  const body = { temperature: 1, top_p: 0.5, response_format: { type: 'json_object' } }
  const mapped = fields(body, { additionalDropParams: ['temperature', 'response_format'] })
  assert.deepEqual(mapped, { options: { top_p: 0.5 } })
})

test('names that every object inherits are fields like any other', () => {
  assert.deepEqual(fields({ constructor: 1, toString: 2 }), {
    options: { constructor: 1, toString: 2 },
  })
})

test('values that cannot be what their field means are invalid', () => {
  assert.throws(() => fields({ stop: [1] }), failsWith('invalid_request', 'stop'))
  assert.throws(() => fields({ options: 'fast' }), failsWith('invalid_request', 'options'))
  assert.throws(
    () => fields({ response_format: { type: 'json_schema', json_schema: { schema: 1 } } }),
    failsWith('invalid_request', 'response_format.json_schema.schema'),
  )
})

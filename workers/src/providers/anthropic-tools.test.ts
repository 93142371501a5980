// OpenAI's tools, the choice among them and JSON answers as Anthropic's (docs: api/messages, structured
// outputs).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anthropicBody } from './anthropic-request.ts'
import { strictSchema } from './anthropic-schema.ts'
import { failsWith, testCall } from './provider-test-kit.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>
const messages = [{ role: 'user', content: 'Hello' }]
const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Get the weather',
    parameters: { type: 'object', properties: { location: { type: 'string' } } },
  },
}
const called = (id: string, name: string, json: string) => ({
  id,
  type: 'function',
  function: { name, arguments: json },
})

function request(body: Record<string, unknown>, options: CallOptions = {}) {
  return anthropicBody(testCall({ messages, ...body }, { model: 'claude-sonnet-4-5', ...options }))
}

test('tools are mapped, Anthropic’s own pass, others are refused', () => {
  const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 5 }
  const own = { name: 'mine', input_schema: { type: 'object' } }
  const cached = { ...weather, cache_control: { type: 'ephemeral' } }
  assert.deepEqual(request({ tools: [cached, search, own] }).tools, [
    {
      name: 'get_weather',
      description: 'Get the weather',
      input_schema: weather.function.parameters,
      cache_control: { type: 'ephemeral' },
    },
    search,
    own,
  ])
  const bare = { type: 'function', function: { name: 'now' } }
  const schema = { type: 'object', properties: {} }
  assert.deepEqual(request({ tools: [bare] }).tools, [{ name: 'now', input_schema: schema }])
  assert.throws(
    () => request({ tools: [weather, { type: 'custom', custom: { name: 'x' } }] }),
    failsWith('unsupported_parameter', 'tools[1].type'),
  )
})

test('a strict tool keeps to its schema where the model can', () => {
  const parameters = {
    type: 'object',
    properties: { n: { type: 'integer', minimum: 1 } },
    required: ['n'],
    additionalProperties: false,
  }
  const tools = [{ type: 'function', function: { name: 'f', parameters, strict: true } }]
  assert.deepEqual(request({ tools }).tools, [
    {
      name: 'f',
      input_schema: {
        ...parameters,
        properties: { n: { type: 'integer', description: '{minimum: 1}' } },
      },
      strict: true,
    },
  ])
  const older = request({ tools }, { model: 'claude-3-5-sonnet-20241022' })
  assert.deepEqual(older.tools, [{ name: 'f', input_schema: parameters }])
})

test('the choice among tools, and one call at a time', () => {
  const choice = (value: unknown, parallel?: boolean) =>
    request({
      tools: [weather],
      ...(value === undefined ? {} : { tool_choice: value }),
      ...(parallel === undefined ? {} : { parallel_tool_calls: parallel }),
    }).tool_choice
  const one = { disable_parallel_tool_use: true }
  const named = { type: 'function', function: { name: 'get_weather' } }
  assert.equal(choice(undefined), undefined)
  assert.equal(choice(undefined, true), undefined)
  assert.deepEqual(choice(undefined, false), { type: 'auto', ...one })
  assert.deepEqual(choice('auto'), { type: 'auto' })
  assert.deepEqual(choice('required', false), { type: 'any', ...one })
  assert.deepEqual(choice('none', false), { type: 'none' })
  assert.deepEqual(choice(named), { type: 'tool', name: 'get_weather' })
  assert.throws(() => choice('maybe'), failsWith('invalid_request', 'tool_choice'))
  assert.equal(request({ tool_choice: 'auto' }).tool_choice, undefined)
})

test('tools that the conversation has called are defined even if the client leaves them out', () => {
  const { tools, tool_choice: choice } = request({
    messages: [
      ...messages,
      { role: 'assistant', tool_calls: [called('a', 'get_weather', '{}')] },
      { role: 'tool', tool_call_id: 'a', content: 'rain' },
    ],
  })
  const schema = { type: 'object', properties: {} }
  assert.deepEqual(tools, [{ name: 'get_weather', input_schema: schema }])
  assert.deepEqual(choice, { type: 'none' })
})

const schema = {
  type: 'object',
  properties: { depth: { type: 'number' } },
  required: ['depth'],
  additionalProperties: false,
}
const jsonSchema = { type: 'json_schema', json_schema: { name: 'tide', schema, strict: true } }

test('a JSON schema becomes the output’s format, or a tool where the model has none', () => {
  assert.deepEqual(request({ response_format: jsonSchema }).output_config, {
    format: { type: 'json_schema', schema },
  })
  assert.equal('output_config' in request({ response_format: { type: 'text' } }), false)
  const older = request({ response_format: jsonSchema }, { model: 'claude-3-5-sonnet-20241022' })
  assert.deepEqual(older.tool_choice, { type: 'tool', name: 'json_tool_call' })
  assert.deepEqual((older.tools as { input_schema: unknown }[])[0]?.input_schema, schema)
  const anyJson = request({ response_format: { type: 'json_object' } })
  assert.deepEqual(anyJson.tool_choice, { type: 'tool', name: 'json_tool_call' })
  const thinking = request({ response_format: { type: 'json_object' }, reasoning_effort: 'low' })
  assert.deepEqual(thinking.tool_choice, { type: 'auto' })
})

test('JSON by a tool cannot be had beside other tools', () => {
  const body = { response_format: { type: 'json_object' }, tools: [weather] }
  assert.throws(() => request(body), failsWith('unsupported_parameter', 'response_format'))
  const dropped = request(body, { deployment: { dropParams: true } })
  assert.equal((dropped.tools as unknown[]).length, 1)
  const both = request({ response_format: jsonSchema, tools: [weather] })
  assert.deepEqual([(both.tools as unknown[]).length, 'output_config' in both], [1, true])
})

test('a schema keeps what Anthropic can promise and tells the model the rest', () => {
  assert.deepEqual(
    strictSchema({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        tags: { type: 'array', items: { type: 'string', format: 'date' }, minItems: 2 },
        kind: { oneOf: [{ const: 'a' }, { $ref: '#/$defs/b' }] },
        name: { type: ['string', 'null'], maxLength: 9, description: 'A name.' },
      },
      $defs: { b: { type: 'object', properties: { x: { type: 'integer' } } } },
    }),
    {
      type: 'object',
      properties: {
        tags: {
          type: 'array',
          items: { type: 'string', format: 'date' },
          description: '{minItems: 2}',
        },
        kind: { anyOf: [{ const: 'a' }, { $ref: '#/$defs/b' }] },
        name: { type: ['string', 'null'], description: 'A name.\n\n{maxLength: 9}' },
      },
      $defs: {
        b: {
          type: 'object',
          properties: { x: { type: 'integer' } },
          additionalProperties: false,
        },
      },
      additionalProperties: false,
    },
  )
  for (const open of [{ additionalProperties: { type: 'string' } }, {}]) {
    const map = { type: 'object', properties: { m: { type: 'object', ...open } } }
    assert.equal(strictSchema(map), null, 'an object with keys of any name')
  }
})

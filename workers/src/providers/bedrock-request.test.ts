// OpenAI's chat requests as Bedrock's Converse (Amazon Bedrock API Reference): every field that a
// client may send, and what differs between the makers of models. Its messages:
// bedrock-messages.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { modelId, regionOf } from './bedrock-models.ts'
import { converseInput } from './bedrock-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>
const claude = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const older = 'anthropic.claude-3-5-sonnet-20240620-v1:0'
const nova = 'amazon.nova-pro-v1:0'
const messages = [{ role: 'user', content: 'Hello' }]
const user = { role: 'user', content: [{ text: 'Hello' }] }
// The tool of the User Guide's "Call a tool with the Converse API".
const parameters = {
  type: 'object',
  properties: { sign: { type: 'string', description: 'The call sign' } },
  required: ['sign'],
}
const topSong = {
  type: 'function',
  function: { name: 'top_song', description: 'Get the most popular song.', parameters },
}
const toolSpec = {
  name: 'top_song',
  description: 'Get the most popular song.',
  inputSchema: { json: parameters },
}

function input(body: Record<string, unknown>, model = claude, options: CallOptions = {}) {
  const call = testCall({ messages, ...body }, { ...options, model })
  return converseInput(call) as unknown as Record<string, unknown>
}

const called = (id: string, name: string, json: string) => ({
  id,
  type: 'function',
  function: { name, arguments: json },
})
const history = [
  ...messages,
  { role: 'assistant', content: '', tool_calls: [called('a:1', 'top_song', '{"sign":"WZPZ"}')] },
  { role: 'tool', tool_call_id: 'a:1', content: 'Elemental Hotel' },
]

test('a plain request has the model’s id and the messages', () => {
  assert.deepEqual(input({ model: 'group', stream: true, user: 'u', metadata: {} }), {
    modelId: claude,
    messages: [user],
  })
})

test('ids come with LiteLLM’s routes and regions, and as ARNs', () => {
  const arn = 'arn:aws:bedrock:eu-west-1:111122223333:inference-profile/eu.amazon.nova-pro-v1:0'
  const cases = [
    [nova, nova, null],
    [`converse/${nova}`, nova, null],
    [`us-west-2/${nova}`, nova, 'us-west-2'],
    [`converse/us-gov-west-1/${nova}`, nova, 'us-gov-west-1'],
    [`invoke/${claude}`, claude, null],
    [arn, arn, 'eu-west-1'],
    [`converse/${arn}`, arn, 'eu-west-1'],
  ] as const
  for (const [written, id, region] of cases) {
    assert.deepEqual([modelId(written), regionOf(written)], [id, region], written)
  }
})

test('limits, sampling and stops are the inference’s, the rest is the model’s own', () => {
  const body = { max_tokens: 9, temperature: 0.5, top_p: 0.9, stop: ['END', ' '], top_k: 5 }
  assert.deepEqual(input(body), {
    modelId: claude,
    messages: [user],
    inferenceConfig: { maxTokens: 9, temperature: 0.5, topP: 0.9, stopSequences: ['END'] },
    additionalModelRequestFields: { top_k: 5 },
  })
  assert.deepEqual(input({ top_k: 5 }, nova).additionalModelRequestFields, {
    inferenceConfig: { topK: 5 },
  })
  assert.deepEqual(input({ extra_body: { x: 1 }, min_p: 0.1 }).additionalModelRequestFields, {
    x: 1,
    min_p: 0.1,
  })
  const guardrailConfig = { guardrailIdentifier: 'g', guardrailVersion: '1' }
  assert.deepEqual(input({ guardrailConfig }).guardrailConfig, guardrailConfig)
})

test('credentials among a deployment’s defaults are never sent', () => {
  const secrets = { aws_access_key_id: 'AKID', aws_secret_access_key: 's', aws_region_name: 'r' }
  assert.deepEqual(input(secrets), { modelId: claude, messages: [user] })
})

test('tools and the choice among them', () => {
  const config = (more: object) => input({ tools: [topSong], ...more }).toolConfig
  const tools = [{ toolSpec }]
  assert.deepEqual(config({}), { tools })
  assert.deepEqual(config({ tool_choice: 'auto' }), { tools, toolChoice: { auto: {} } })
  assert.deepEqual(config({ tool_choice: 'required' }), { tools, toolChoice: { any: {} } })
  const named = { type: 'function', function: { name: 'top_song' } }
  const toolChoice = { tool: { name: 'top_song' } }
  assert.deepEqual(config({ tool_choice: named }), { tools, toolChoice })
  assert.equal(config({ tool_choice: 'none' }), undefined)
  const cached = [{ ...topSong, cache_control: { type: 'ephemeral' } }]
  const point = { cachePoint: { type: 'default' } }
  assert.deepEqual(config({ tools: cached }), { tools: [{ toolSpec }, point] })
  const custom = () => config({ tools: [{ type: 'custom' }] })
  assert.throws(custom, failsWith('unsupported_parameter', 'tools[0].type'))
})

test('a conversation with calls always has its tools', () => {
  const stub = { name: 'top_song', inputSchema: { json: { type: 'object', properties: {} } } }
  assert.deepEqual(input({ messages: history }).toolConfig, { tools: [{ toolSpec: stub }] })
  const forbidden = input({ messages: history, tools: [topSong], tool_choice: 'none' })
  assert.deepEqual(forbidden.toolConfig, { tools: [{ toolSpec }] })
})

const schema = { ...parameters, additionalProperties: false }
const responseFormat = { type: 'json_schema', json_schema: { name: 'song', schema } }

test('a JSON schema is the output’s where the model keeps to one, else a tool’s', () => {
  for (const model of [claude, 'openai.gpt-oss-20b-1:0', 'qwen.qwen3-32b-v1:0']) {
    const jsonSchema = { name: 'song', schema: JSON.stringify(schema) }
    assert.deepEqual(input({ response_format: responseFormat }, model).outputConfig, {
      textFormat: { type: 'json_schema', structure: { jsonSchema } },
    })
  }
  for (const model of [older, nova]) {
    const { toolConfig, outputConfig } = input({ response_format: responseFormat }, model)
    const description = 'Gives the answer to the user as JSON.'
    const tool = { name: 'json_tool_call', description, inputSchema: { json: schema } }
    const toolChoice = { tool: { name: 'json_tool_call' } }
    assert.deepEqual(toolConfig, { tools: [{ toolSpec: tool }], toolChoice })
    assert.equal(outputConfig, undefined)
  }
  const both = { response_format: responseFormat, tools: [topSong] }
  assert.throws(() => input(both, nova), failsWith('unsupported_parameter', 'response_format'))
  const dropped = input(both, nova, { deployment: { dropParams: true } })
  assert.deepEqual(dropped.toolConfig, { tools: [{ toolSpec }] })
})

test('an effort is asked for in the way of the model’s maker', () => {
  const low = { reasoning_effort: 'low' }
  const budget = input(low)
  assert.deepEqual(budget.additionalModelRequestFields, {
    thinking: { type: 'enabled', budget_tokens: 1024 },
  })
  assert.deepEqual(budget.inferenceConfig, { maxTokens: 5120 })
  const adaptive = input(low, 'anthropic.claude-opus-4-6-v1')
  assert.deepEqual(adaptive.outputConfig, { effort: 'low' })
  assert.deepEqual(adaptive.additionalModelRequestFields, {
    thinking: { type: 'adaptive', display: 'summarized' },
  })
  const oss = input({ reasoning_effort: 'xhigh' }, 'openai.gpt-oss-120b-1:0')
  assert.deepEqual(oss.additionalModelRequestFields, { reasoning_effort: 'high' })
  assert.deepEqual(input(low, 'amazon.nova-2-lite-v1:0').additionalModelRequestFields, {
    reasoningConfig: { type: 'enabled', maxReasoningEffort: 'low' },
  })
  for (const model of [older, nova]) {
    const refused = failsWith('unsupported_parameter', 'reasoning_effort')
    assert.throws(() => input(low, model), refused)
    const dropped = input(low, model, { deployment: { dropParams: true } })
    assert.deepEqual(dropped, { modelId: model, messages: [user] })
  }
})

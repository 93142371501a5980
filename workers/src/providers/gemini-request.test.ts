// An OpenAI chat as Gemini's request: tools, generationConfig, thinking. Its
// messages: gemini-messages.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { geminiRequest } from './gemini-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'
import type { CallOptions } from './upstream-test-kit.ts'

const messages = [{ role: 'user', content: 'Hello!' }]
const contents = [{ role: 'user', parts: [{ text: 'Hello!' }] }]

function request(body: Record<string, unknown>, options: CallOptions = {}) {
  return geminiRequest(testCall({ messages, ...body }, { model: 'gemini-2.5-flash', ...options }))
}

test('a plain chat is nothing but contents', () => {
  const bookkeeping = { model: 'm', stream: true, user: 'u', metadata: {}, store: true, n: null }
  assert.deepEqual(request({ ...bookkeeping, parallel_tool_calls: false }), { contents })
})

test('parameters have Gemini’s names', () => {
  const schema = { type: 'object', properties: {}, additionalProperties: false }
  const sent = request({
    temperature: 0.2,
    top_p: 0.9,
    top_k: 40,
    max_completion_tokens: 64,
    stop: ['END', '\n'],
    n: 2,
    seed: 7,
    presence_penalty: 0.5,
    frequency_penalty: 0.25,
    logprobs: true,
    top_logprobs: 3,
    modalities: ['text', 'image'],
    response_format: { type: 'json_schema', json_schema: { name: 'a', strict: true, schema } },
    safety_settings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }],
    cached_content: 'cachedContents/x',
    unheard_of: 1,
    extra_body: {
      labels: { a: 'b' },
      generationConfig: { mediaResolution: 'LOW', maxOutputTokens: 9_000, candidateCount: 8 },
      generation_config: { max_output_tokens: 9_000, candidate_count: 8 },
    },
  })
  assert.deepEqual(sent, {
    contents,
    safetySettings: [{ category: 'HARM_CATEGORY_HARASSMENT', threshold: 'BLOCK_NONE' }],
    cachedContent: 'cachedContents/x',
    labels: { a: 'b' },
    generationConfig: {
      maxOutputTokens: 64,
      stopSequences: ['END', '\n'],
      responseMimeType: 'application/json',
      responseJsonSchema: schema,
      responseModalities: ['TEXT', 'IMAGE'],
      temperature: 0.2,
      topP: 0.9,
      topK: 40,
      candidateCount: 2,
      seed: 7,
      presencePenalty: 0.5,
      frequencyPenalty: 0.25,
      responseLogprobs: true,
      logprobs: 3,
      mediaResolution: 'LOW',
    },
  })
})

test('tool choices are calling modes', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }]
  const configOf = (tool_choice: unknown) => {
    const { toolConfig } = request({ tools, tool_choice })
    return (toolConfig as { functionCallingConfig: unknown } | undefined)?.functionCallingConfig
  }
  assert.equal(configOf(undefined), undefined)
  assert.deepEqual(configOf('none'), { mode: 'NONE' })
  assert.deepEqual(configOf('auto'), { mode: 'AUTO' })
  assert.deepEqual(configOf('required'), { mode: 'ANY' })
  const named = { type: 'function', function: { name: 'f' } }
  assert.deepEqual(configOf(named), { mode: 'ANY', allowedFunctionNames: ['f'] })
  assert.throws(
    () => request({ tools: [...tools, { type: 'custom' }] }),
    failsWith('unsupported_parameter', 'tools[1].type'),
  )
})

// The table in ai.google.dev/gemini-api/docs/openai, "Thinking".
test('an effort is a budget for Gemini 2.5 and a level from Gemini 3 on', () => {
  const thinkingOf = (model: string, body: Record<string, unknown>) => {
    const { generationConfig } = request(body, { model })
    return (generationConfig as { thinkingConfig: unknown } | undefined)?.thinkingConfig
  }
  const includeThoughts = true
  const effort = (value: string) => ({ reasoning_effort: value })
  const cases = [
    ['gemini-2.5-flash', effort('none'), { thinkingBudget: 0 }],
    ['gemini-2.5-flash', effort('low'), { thinkingBudget: 1_024, includeThoughts }],
    ['models/gemini-2.5-pro', effort('high'), { thinkingBudget: 24_576, includeThoughts }],
    ['gemini-3-flash', effort('none'), { thinkingLevel: 'minimal', includeThoughts: false }],
    ['gemini-3.1-pro-preview', effort('minimal'), { thinkingLevel: 'low', includeThoughts }],
    ['gemini-3.1-pro-preview', effort('xhigh'), { thinkingLevel: 'high', includeThoughts }],
    [
      'gemini-2.5-flash',
      { thinking: { type: 'enabled', budget_tokens: 512 } },
      { thinkingBudget: 512, includeThoughts },
    ],
    ['gemini-2.5-flash', { thinking: { type: 'disabled' } }, { thinkingBudget: 0 }],
    ['gemini-2.5-flash', {}, undefined],
  ] as const
  for (const [model, body, config] of cases) assert.deepEqual(thinkingOf(model, body), config)
})

test('what Gemini cannot do is refused by name, or dropped', () => {
  const refused = {
    logit_bias: { 1: 2 },
    audio: { voice: 'a' },
    modalities: ['audio'],
    functions: [{}],
    web_search_options: {},
    reasoning_effort: 'enormous',
  }
  for (const [param, value] of Object.entries(refused)) {
    assert.throws(() => request({ [param]: value }), failsWith('unsupported_parameter', param))
  }
  assert.deepEqual(request(refused, { deployment: { dropParams: true } }), { contents })
  const additionalDropParams = ['seed']
  assert.deepEqual(request({ seed: 1 }, { deployment: { additionalDropParams } }), { contents })
})

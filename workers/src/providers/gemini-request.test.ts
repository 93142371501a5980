// An OpenAI chat as Gemini's request: contents, tools and signatures, generationConfig, thinking.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { geminiRequest } from './gemini-request.ts'
import { failsWith, testCall } from './ollama-test-kit.ts'

type Options = NonNullable<Parameters<typeof testCall>[1]>
const messages = [{ role: 'user', content: 'Hello!' }]
const contents = [{ role: 'user', parts: [{ text: 'Hello!' }] }]

function request(body: Record<string, unknown>, options: Options = {}) {
  return geminiRequest(testCall({ messages, ...body }, { model: 'gemini-2.5-flash', ...options }))
}

test('a plain chat is nothing but contents', () => {
  const bookkeeping = { model: 'm', stream: true, user: 'u', metadata: {}, store: true, n: null }
  assert.deepEqual(request({ ...bookkeeping, parallel_tool_calls: false }), { contents })
})

// google/adk-go sent this, and Gemini answered it (see fixtures/gemini/README.md).
test('calls with their signature, and their results, are what Google’s own client sends', () => {
  const url = new URL('fixtures/gemini/tool-results-request.json', import.meta.url)
  const recorded = JSON.parse(readFileSync(url, 'utf8'))
  const [, { parts }] = recorded.contents
  const signature = parts[0].thoughtSignature
  const call = (id: string, a: number, b: number, more = {}) => ({
    id,
    type: 'function',
    function: { name: 'sum', arguments: JSON.stringify({ a, b }) },
    ...more,
  })
  const result = (id: string, sum: number) => ({
    role: 'tool',
    tool_call_id: id,
    content: JSON.stringify({ sum }),
  })
  const [
    {
      functionDeclarations: [declared],
    },
  ] = recorded.tools
  const { parametersJsonSchema: parameters, description, name } = declared
  for (const more of [
    { extra_content: { google: { thought_signature: signature } } },
    { provider_specific_fields: { thought_signature: signature } },
  ]) {
    const sent = request(
      {
        messages: [
          { role: 'system', content: recorded.systemInstruction.parts[0].text },
          { role: 'user', content: recorded.contents[0].parts[0].text },
          {
            role: 'assistant',
            content: null,
            tool_calls: [
              call('3ae8iwca', 2, 3, more),
              call('up3kf30e', 4, 5),
              call('ycroch25', 6, 7),
            ],
          },
          result('3ae8iwca', 5),
          result('up3kf30e', 9),
          result('ycroch25', 13),
        ],
        tools: [{ type: 'function', function: { name, description, parameters } }],
      },
      { model: 'gemini-3-flash-preview' },
    )
    assert.deepEqual(sent.contents, recorded.contents)
    assert.deepEqual(sent.systemInstruction, { parts: recorded.systemInstruction.parts })
    const { responseJsonSchema: _, ...declaration } = declared
    assert.deepEqual(sent.tools, [{ functionDeclarations: [declaration] }])
  }
})

test('a history that lost its signatures is let through where a model checks them', () => {
  const called = { name: 'f', arguments: '' }
  const history = [
    ...messages,
    { role: 'assistant', tool_calls: [{ id: 'call_1', type: 'function', function: called }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'it rains' },
    { role: 'user', content: 'So?' },
  ]
  const third = request({ messages: history }, { model: 'gemini-3-pro-preview' })
  const functionCall = { name: 'f', args: {} }
  assert.deepEqual(third.contents, [
    ...contents,
    {
      role: 'model',
      parts: [{ functionCall, thoughtSignature: 'skip_thought_signature_validator' }],
    },
    {
      role: 'user',
      parts: [{ functionResponse: { name: 'f', response: { output: 'it rains' } } }],
    },
    { role: 'user', parts: [{ text: 'So?' }] },
  ])
  const second = request({ messages: history })
  assert.deepEqual((second.contents as { parts: unknown[] }[])[1]?.parts, [{ functionCall }])
  const lost = [{ role: 'tool', tool_call_id: 'call_2', content: 'x' }]
  assert.throws(
    () => request({ messages: lost }),
    failsWith('invalid_request', 'messages[0].tool_call_id'),
  )
})

test('images, audio and files go inline, links are for Google to fetch', () => {
  const content = [
    { type: 'text', text: 'see' },
    { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBO' } },
    { type: 'image_url', image_url: { url: 'https://h.example/a.webp?x=1' } },
    { type: 'input_audio', input_audio: { data: 'UklG', format: 'wav' } },
    { type: 'file', file: { file_data: 'data:application/pdf;base64,JVBE', filename: 'a.pdf' } },
  ]
  assert.deepEqual(request({ messages: [{ role: 'user', content }] }).contents, [
    {
      role: 'user',
      parts: [
        { text: 'see' },
        { inlineData: { mimeType: 'image/png', data: 'iVBO' } },
        { fileData: { mimeType: 'image/webp', fileUri: 'https://h.example/a.webp?x=1' } },
        { inlineData: { mimeType: 'audio/wav', data: 'UklG' } },
        { inlineData: { mimeType: 'application/pdf', data: 'JVBE' } },
      ],
    },
  ])
  const refuse = (part: object, code: string, param: string) =>
    assert.throws(
      () => request({ messages: [{ role: 'user', content: [part] }] }),
      failsWith(code, param),
    )
  const odd = { type: 'image_url', image_url: { url: 'file:///etc/passwd' } }
  refuse(odd, 'invalid_request', 'messages[0].content[0].image_url')
  refuse({ type: 'video' }, 'unsupported_parameter', 'messages[0].content[0]')
})

test('instructions alone are what the user says, and one side’s messages in a row are one', () => {
  const system = [{ role: 'developer', content: 'Be brief.' }]
  assert.deepEqual(request({ messages: system }), {
    contents: [{ role: 'user', parts: [{ text: 'Be brief.' }] }],
  })
  const twice = request({ messages: [...messages, ...messages, ...system] })
  assert.deepEqual(twice.contents, [
    { role: 'user', parts: [{ text: 'Hello!' }, { text: 'Hello!' }] },
  ])
  assert.deepEqual(twice.systemInstruction, { parts: [{ text: 'Be brief.' }] })
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

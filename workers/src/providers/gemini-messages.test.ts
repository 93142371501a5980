// An OpenAI chat's messages as Gemini's contents: turns, files, calls and their signatures.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { geminiRequest } from './gemini-request.ts'
import { failsWith, testCall } from './provider-test-kit.ts'
import { type CallOptions, fixturesOf } from './upstream-test-kit.ts'

const messages = [{ role: 'user', content: 'Hello!' }]
const contents = [{ role: 'user', parts: [{ text: 'Hello!' }] }]

function request(body: Record<string, unknown>, options: CallOptions = {}) {
  return geminiRequest(testCall({ messages, ...body }, { model: 'gemini-2.5-flash', ...options }))
}

// google/adk-go sent this, and Gemini answered it (see fixtures/gemini/README.md).
test('calls with their signature, and their results, are what Google’s own client sends', () => {
  const recorded = JSON.parse(fixturesOf('gemini')('tool-results-request.json'))
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

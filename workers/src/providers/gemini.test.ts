// The Gemini provider against recorded answers: where a call goes, what becomes of what comes back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noUsage } from '@penstock/shared/contracts/usage'
import { gemini, geminiUrl } from './gemini.ts'
import { failsWith, parseEvents } from './provider-test-kit.ts'
import {
  type CallOptions,
  firstChoices,
  fixturesOf,
  json,
  runCall,
  sse,
  upstreamForTests,
} from './upstream-test-kit.ts'

type Fields = Record<string, unknown>

const upstream = await upstreamForTests()

const fixture = fixturesOf('gemini')
const messages = [{ role: 'user', content: 'Hello!' }]

function run(body: Fields, options: CallOptions = {}) {
  const deployment = {
    apiBase: `${upstream.origin}/v1beta`,
    apiKey: 'AIza-1',
    ...options.deployment,
  }
  const model = 'gemini-3-flash-preview'
  return runCall(gemini.provider, body, { model, ...options, deployment })
}

async function streamed(bytes: string, size: number, includeUsage = true) {
  upstream.answer(sse(bytes, size))
  const { text, usage } = await run({ messages }, { stream: true, includeUsage })
  const events = parseEvents(Buffer.from(text))
  return { events, usage, choices: firstChoices(events) }
}

test('a call goes to the model’s method, with the key in a header and never in the URL', async () => {
  upstream.answer(json(fixture('text-reply.json')))
  await run({ messages }, { deployment: { extraHeaders: { 'X-Team': 'a' } } })
  const [received] = upstream.received
  assert.equal(received?.url, '/v1beta/models/gemini-3-flash-preview:generateContent')
  assert.equal(received?.headers['x-goog-api-key'], 'AIza-1')
  assert.equal(received?.headers['x-team'], 'a')
  assert.equal(received?.headers.authorization, undefined)
  const cases = [
    ['https://h', 'https://h/v1beta/models/g:x'],
    ['https://h/v1/', 'https://h/v1/models/g:x'],
    ['https://h/v1beta/models/other:generateContent', 'https://h/v1beta/models/g:x'],
  ] as const
  for (const [apiBase, url] of cases) assert.equal(geminiUrl(apiBase, 'g', 'x'), url)
  assert.equal(
    geminiUrl('https://h', 'tunedModels/t 1', 'x'),
    'https://h/v1beta/tunedModels/t%201:x',
  )
  assert.equal(
    geminiUrl('https://h', 'models/g:countTokens?a=b#', 'x'),
    'https://h/v1beta/models/g%3AcountTokens%3Fa%3Db%23:x',
  )
})

test('a whole reply is a chat.completion', async () => {
  upstream.answer(json(fixture('text-reply.json')))
  const { reply, usage } = await run({ messages })
  const { created, ...rest } = reply ?? {}
  assert.ok(Number.isInteger(created))
  assert.deepEqual(rest, {
    id: 'chatcmpl-xlWYafXAOKSf1e8PpcODiAg',
    object: 'chat.completion',
    model: 'gemini-2.5-flash',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Paris' },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {
      prompt_tokens: 11,
      completion_tokens: 35,
      total_tokens: 46,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 34, audio_tokens: 0 },
    },
  })
  assert.deepEqual(usage, {
    ...noUsage,
    promptTokens: 11,
    completionTokens: 35,
    reasoningTokens: 34,
  })
  upstream.answer(json(fixture('cached-reply.json')))
  assert.equal((await run({ messages })).usage?.cachedPromptTokens, 323_383)
})

test('a tool call keeps its signature for the next turn', async () => {
  upstream.answer(json(fixture('tool-call-reply.json')))
  const { reply } = await run({ messages })
  const [choice] = firstChoices([reply])
  const message = choice?.message as { content: unknown; tool_calls: Fields[] }
  const [call] = message.tool_calls
  assert.equal(choice?.finish_reason, 'tool_calls')
  assert.equal(message.content, null)
  assert.match(String(call?.id), /^call_[0-9a-f]{32}$/)
  assert.deepEqual(call?.function, { name: 'weather', arguments: '{"location":"San Francisco"}' })
  assert.match(
    JSON.stringify(call?.extra_content),
    /^\{"google":\{"thought_signature":"EskgCsYgAb4\+\S+"\}\}$/,
  )
})

test('images, log probabilities and thoughts have their places', async () => {
  const token = { token: 'Hi', logProbability: -0.25, tokenId: 3 }
  const parts = [
    { text: 'hm', thought: true },
    { text: 'Hi' },
    { inlineData: { mimeType: 'image/png', data: 'iVBO' } },
  ]
  const logprobsResult = { chosenCandidates: [token], topCandidates: [{ candidates: [token] }] }
  const candidates = [{ content: { parts }, finishReason: 'MAX_TOKENS', logprobsResult }]
  upstream.answer(json({ candidates }))
  const { reply, usage } = await run({ messages })
  const entry = { token: 'Hi', logprob: -0.25, bytes: [72, 105] }
  assert.deepEqual(reply?.choices, [
    {
      index: 0,
      message: {
        role: 'assistant',
        content: 'Hi',
        reasoning_content: 'hm',
        images: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBO' } }],
      },
      logprobs: { content: [{ ...entry, top_logprobs: [entry] }] },
      finish_reason: 'length',
    },
  ])
  assert.equal(usage, null)
})

test('a stream of text, at any cut', async () => {
  for (const size of [1, 17, 100_000]) {
    const { events, usage, choices } = await streamed(fixture('text-stream.sse'), size)
    assert.deepEqual(
      choices.map(({ delta, finish_reason: finish }) => [delta, finish]),
      [
        [{ role: 'assistant', content: '' }, null],
        [{ content: 'The sum' }, null],
        [{ content: ' of 2 and 3 is 5, the sum of 4 and' }, null],
        [{ content: ' 5 is 9, and the sum of 6 and 7 is 13.' }, null],
        [{}, 'stop'],
      ],
    )
    assert.deepEqual([...new Set(events.map(({ id }) => id))], ['chatcmpl-ayS5abiBOIGzkdUPttS9wAQ'])
    assert.deepEqual([usage?.promptTokens, usage?.completionTokens], [281, 38])
    assert.deepEqual(events.at(-1)?.choices, [])
    assert.match(JSON.stringify(events.at(-1)?.usage), /"total_tokens":319\b/)
  }
  const { events } = await streamed(fixture('text-stream.sse'), 100_000, false)
  assert.ok(events.every((event) => !('usage' in event)))
  assert.equal(upstream.received[0]?.url.split(':')[1], 'streamGenerateContent?alt=sse')
})

test('streamed tool calls count on, and streamed thoughts are reasoning, at any cut', async () => {
  for (const size of [1, 17, 100_000]) {
    const tools = await streamed(fixture('tool-calls-stream.sse'), size)
    const calls = tools.choices.flatMap(
      ({ delta }) => (delta as { tool_calls?: Fields[] }).tool_calls ?? [],
    )
    assert.deepEqual(
      calls.map(({ index, id, function: called }) => [index, id, called]),
      [
        [0, '3ae8iwca', { name: 'sum', arguments: '{"b":3,"a":2}' }],
        [1, 'up3kf30e', { name: 'sum', arguments: '{"a":4,"b":5}' }],
        [2, 'ycroch25', { name: 'sum', arguments: '{"b":7,"a":6}' }],
      ],
    )
    assert.deepEqual(
      calls.map((call) => 'extra_content' in call),
      [true, false, false],
    )
    assert.equal(tools.choices.at(-1)?.finish_reason, 'tool_calls')
    assert.deepEqual([tools.usage?.completionTokens, tools.usage?.reasoningTokens], [93, 45])

    const thinking = await streamed(fixture('thinking-stream.sse'), size)
    const [, first, , third, fourth] = thinking.choices.map(({ delta }) => delta as Fields)
    assert.match(String(first?.reasoning_content), /^\*\*Calculating Prime Sum\*\*/)
    assert.match(String(third?.reasoning_content), /^\*\*Verifying Prime Sum\*\*/)
    assert.match(String(fourth?.content), /^To find the sum/)
    assert.equal(thinking.usage?.completionTokens, 745 + 1_234)
  }
})

test('one text is embedded alone, several in batches of a hundred', async () => {
  const operation = 'embedding'
  // google-gemini/cookbook, quickstarts/rest/Embeddings_REST.ipynb, its vectors cut.
  upstream.answer(json({ embedding: { values: [-0.02342152, 0.01676572] } }))
  const one = await run({ input: 'Hello world', dimensions: 2 }, { operation })
  const model = 'models/gemini-3-flash-preview'
  const content = { parts: [{ text: 'Hello world' }] }
  assert.deepEqual(upstream.received[0]?.body, { model, content, outputDimensionality: 2 })
  assert.match(upstream.received[0]?.url ?? '', /:embedContent$/)
  assert.deepEqual(one.reply?.data, [
    { object: 'embedding', index: 0, embedding: [-0.02342152, 0.01676572] },
  ])
  assert.equal(one.usage, null)

  upstream.answer((response, { body }) => {
    const { length } = body.requests as unknown[]
    const embeddings = Array.from({ length }, (_, index) => ({ values: [index] }))
    json({ embeddings, usageMetadata: { promptTokenCount: length } })(response)
  })
  const input = Array.from({ length: 150 }, (_, index) => `text ${index}`)
  const many = await run({ input, encoding_format: 'base64' }, { operation })
  const data = many.reply?.data as { index: number; embedding: string }[]
  assert.equal(data.length, 150)
  assert.equal(Buffer.from(data[149]?.embedding ?? '', 'base64').readFloatLE(0), 49)
  assert.equal(upstream.received.length, 3)
  assert.equal(many.usage?.promptTokens, 150)

  upstream.answer(json({ embeddings: [] }))
  await assert.rejects(
    run({ input: ['a', 'b'] }, { operation }),
    failsWith('upstream_invalid_response'),
  )
  const tokens = run({ input: [[1, 2]] }, { operation })
  await assert.rejects(tokens, failsWith('unsupported_parameter', 'input'))
  const completion = run({ prompt: 'x' }, { operation: 'completion' })
  await assert.rejects(completion, failsWith('unsupported_parameter'))
})

// The real providers against the fakes of Azure, Mistral and Gemini: each does everything that the
// later tests of the whole gateway ask of it.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { closeHttp } from '@penstock/workers/providers/http'
import { testCall } from '@penstock/workers/providers/provider-test-kit'
import { resolveProvider } from '@penstock/workers/providers/resolve'
import { firstChoices } from '@penstock/workers/providers/upstream-test-kit'
import { azureFailure, filteredWord, startFakeAzure } from './azure.ts'
import { blockedWord, startFakeGemini } from './gemini.ts'
import { geminiFailure, geminiRateLimit } from './gemini-checks.ts'
import { startFakeMistral } from './mistral.ts'
import { mistralFailure } from './mistral-checks.ts'
import { type Behaviour, presets, type StatusFault } from './openai-behaviour.ts'
import type { FakeUpstream } from './upstream-server.ts'

after(closeHttp)

type Fields = Record<string, unknown>
type CallOptions = NonNullable<Parameters<typeof testCall>[1]>

interface Cloud {
  name: string
  fake: FakeUpstream
  deployment: { model: string; apiBase: string; apiKey: string; defaults?: Fields }
  rateLimited: StatusFault
  overloaded: StatusFault
}

const azure = await startFakeAzure({ apiKey: 'azure-key' })
const mistral = await startFakeMistral({ apiKey: 'mistral-key' })
const gemini = await startFakeGemini({ apiKey: 'AIza-key' })
after(() => Promise.all([azure.close(), mistral.close(), gemini.close()]))

const retry = { 'retry-after': '7' }
const clouds: Cloud[] = [
  {
    name: 'azure',
    fake: azure,
    deployment: {
      model: 'azure/gpt-4o-eu',
      apiBase: azure.url,
      apiKey: 'azure-key',
      defaults: { api_version: '2024-10-21' },
    },
    rateLimited: { ...azureFailure(429, '429', 'Rate limit'), headers: retry },
    overloaded: azureFailure(503, 'ServiceUnavailable', 'overloaded'),
  },
  {
    name: 'mistral',
    fake: mistral,
    deployment: {
      model: 'mistral/mistral-large-latest',
      apiBase: `${mistral.url}/v1`,
      apiKey: 'mistral-key',
    },
    rateLimited: { ...mistralFailure(429, 'rate_limited', 'Rate limit exceeded'), headers: retry },
    overloaded: mistralFailure(503, 'server_error', 'overloaded'),
  },
  {
    name: 'gemini',
    fake: gemini,
    deployment: { model: 'gemini/gemini-3-flash', apiBase: gemini.url, apiKey: 'AIza-key' },
    rateLimited: geminiRateLimit(7),
    overloaded: geminiFailure(503, 'overloaded'),
  },
]

const messages: Fields[] = [{ role: 'user', content: 'one two three' }]

async function run(cloud: Cloud, body: Fields, options: CallOptions = {}) {
  let events = ''
  const call = testCall(body, {
    emit: (bytes) => {
      events += Buffer.from(bytes).toString()
    },
    ...options,
    deployment: { ...cloud.deployment, ...options.deployment },
  })
  const { entry, model } = resolveProvider(call.deployment, {})
  const outcome = await entry.provider.run({ ...call, model }).then(
    (result) => ({ result, error: null }),
    (error: unknown) => {
      if (!(error instanceof PenstockError)) throw error
      return { result: null, error }
    },
  )
  const chunks: Fields[] = events
    .split('\n\n')
    .slice(0, -1)
    .map((event) => JSON.parse(event.slice('data: '.length)))
  const deltas = firstChoices(chunks).map(({ delta }) => delta as Fields | undefined)
  const bytes = outcome.result?.body
  const message = bytes
    ? firstChoices([JSON.parse(Buffer.from(bytes).toString())])[0]?.message
    : null
  return {
    ...outcome,
    message: message as Fields | null,
    text: deltas.map((delta) => delta?.content ?? '').join(''),
    thought: deltas.map((delta) => delta?.reasoning_content ?? '').join(''),
    calls: deltas.flatMap((delta) => (delta?.tool_calls ?? []) as Fields[]),
    finish: firstChoices(chunks)
      .map(({ finish_reason: finish }) => finish)
      .filter(Boolean),
  }
}

const weather = { name: 'weather', arguments: { city: 'Brest', days: 2 } }
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }]

for (const cloud of clouds) {
  const { fake, name } = cloud
  const behave = (behaviour: Partial<Behaviour>) => fake.setBehaviour(behaviour)

  test(`${name}: plain and streamed, with the upstream's own counts, at any cut`, async () => {
    behave({ content: ['héé', ' 😊', ' ok'], cachedTokens: 2 })
    const plain = await run(cloud, { messages })
    assert.equal(plain.message?.content, 'héé 😊 ok')
    for (const chunking of ['event', 'byte', 'mid-character'] as const) {
      behave({ content: ['héé', ' 😊', ' ok'], cachedTokens: 2, chunking })
      const streamed = await run(cloud, { messages }, { stream: true, includeUsage: true })
      assert.deepEqual([streamed.text, streamed.finish], ['héé 😊 ok', ['stop']])
      for (const { result } of [plain, streamed]) {
        const { promptTokens, completionTokens, cachedPromptTokens } = result?.usage ?? {}
        assert.deepEqual([promptTokens, completionTokens, cachedPromptTokens], [3, 3, 2])
      }
    }
    behave({ tokens: 5 })
    assert.deepEqual((await run(cloud, { messages, max_tokens: 2 }, { stream: true })).finish, [
      'length',
    ])
  })

  test(`${name}: thinking is reasoning_content`, async () => {
    behave({ reasoning: 2 })
    const streamed = await run(cloud, { messages }, { stream: true })
    assert.equal(streamed.thought, 'think0 think1')
    const plain = await run(cloud, { messages })
    assert.equal(plain.message?.reasoning_content, 'think0 think1')
    assert.equal(plain.message?.content, 'tok0 tok1 tok2 tok3 tok4')
  })

  test(`${name}: a round of tools, plain and streamed`, async () => {
    const asked = { messages, tools, tool_choice: 'required' }
    behave({ toolCalls: [weather, weather] })
    const plain = await run(cloud, asked)
    const calls = plain.message?.tool_calls as { id: string; function: Fields }[]
    const args = JSON.stringify(weather.arguments)
    assert.deepEqual(
      calls.map((call) => call.function),
      [
        { name: 'weather', arguments: args },
        { name: 'weather', arguments: args },
      ],
    )
    const streamed = await run(cloud, asked, { stream: true })
    const pieces = streamed.calls.map((call) => (call.function as { arguments: string }).arguments)
    assert.equal(pieces.join(''), args + args)
    assert.deepEqual([...new Set(streamed.calls.map(({ index }) => index))], [0, 1])
    assert.deepEqual(streamed.finish, ['tool_calls'])

    // The strict fakes refuse a history that is not theirs: lost signatures, foreign ids and fields.
    behave({})
    const results = calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: '{"t":9}' }))
    const history = [...messages, { ...plain.message, reasoning_content: 'hm' }, ...results]
    assert.equal((await run(cloud, { messages: history, tools })).error, null)
    const foreign = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '' } }
    const others = [
      ...messages,
      { role: 'assistant', content: null, tool_calls: [foreign] },
      { role: 'tool', tool_call_id: 'call_1', content: 'rain' },
    ]
    assert.equal((await run(cloud, { messages: others, tools })).error, null)
  })

  test(`${name}: an image and a JSON schema are taken`, async () => {
    behave({ content: ['{"a":1}'] })
    const content = [
      { type: 'text', text: 'see' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBO' } },
    ]
    const schema = { type: 'object', properties: { a: { type: 'integer' } } }
    const format = { type: 'json_schema', json_schema: { name: 'a', schema, strict: true } }
    const body = { messages: [{ role: 'user', content }], response_format: format }
    const { message } = await run(cloud, body)
    assert.equal(message?.content, '{"a":1}')
    const sent = JSON.stringify(fake.calls.at(-1)?.body)
    assert.match(sent, /iVBO/)
    assert.match(sent, /"properties":\{"a":\{"type":"integer"\}\}/)
  })

  test(`${name}: each way to fail is its own error`, async () => {
    const cases: [Partial<Behaviour>, string, string][] = [
      [presets['cut-off'], 'upstream_cut_off', 'upstream_cut_off'],
      [presets['no-end'], 'upstream_cut_off', 'upstream_invalid_response'],
      [presets.garbage, 'upstream_invalid_response', 'upstream_invalid_response'],
      [presets.html, 'upstream_invalid_response', 'upstream_invalid_response'],
      [{ fault: cloud.rateLimited }, 'upstream_rate_limited', 'upstream_rate_limited'],
      [{ fault: cloud.overloaded }, 'upstream_error', 'upstream_error'],
    ]
    for (const [behaviour, streamed, whole] of cases) {
      behave(behaviour)
      const stream = await run(cloud, { messages }, { stream: true })
      const plain = await run(cloud, { messages })
      const what = JSON.stringify(behaviour.fault)
      assert.deepEqual([stream.error?.code, plain.error?.code], [streamed, whole], what)
      const midway = ['destroy', 'no-end', 'garbage-event'].includes(behaviour.fault?.kind ?? '')
      assert.equal(stream.text, midway ? 'tok0 tok1 tok2' : '', what)
    }
    behave(presets['error-event'])
    const reported = await run(cloud, { messages }, { stream: true })
    assert.deepEqual([reported.error?.code, reported.text], ['upstream_error', 'tok0 tok1 tok2'])
    behave({ fault: cloud.rateLimited })
    assert.equal((await run(cloud, { messages })).error?.info.retryAfterMs, 7_000)
    behave({})
    const wrong = await run(cloud, { messages }, { deployment: { apiKey: 'sk-wrong-0123456789' } })
    assert.equal(wrong.error?.code, 'upstream_auth_failed')
    assert.doesNotMatch(wrong.error.message, /wrong-0123/)
  })

  test(`${name}: a client that leaves stops the upstream`, async () => {
    const left = new PenstockError('client_closed_request', 'left')
    for (const preset of ['hang', 'stall'] as const) {
      for (const stream of [true, false]) {
        behave(presets[preset])
        const leaving = new AbortController()
        const before = fake.counts.aborted
        const running = run(cloud, { messages }, { stream, signal: leaving.signal })
        await fake.until(({ concurrent }) => concurrent === 1)
        leaving.abort(left)
        assert.equal((await running).error, left)
        await fake.until(({ aborted }) => aborted === before + 1)
      }
    }
  })

  test(`${name}: embeddings`, async () => {
    behave({})
    const body = { input: ['a b', 'c'], dimensions: 4 }
    const { result } = await run(cloud, body, { operation: 'embedding' })
    const { data } = JSON.parse(Buffer.from(result?.body ?? []).toString())
    assert.deepEqual(
      data.map(({ embedding }: { embedding: number[] }) => embedding.length),
      [4, 4],
    )
  })
}

test('a filter’s refusal is a content policy violation', async () => {
  for (const [cloud, word] of [
    [clouds[0], filteredWord],
    [clouds[2], blockedWord],
  ] as const) {
    assert.ok(cloud !== undefined)
    cloud.fake.setBehaviour({})
    for (const stream of [true, false]) {
      const body = { messages: [{ role: 'user', content: word }] }
      const { error } = await run(cloud, body, { stream })
      assert.equal(error?.code, 'content_policy_violation')
    }
  }
})

test('mistral: fill-in-the-middle, plain and streamed', async () => {
  const [, cloud] = clouds
  assert.ok(cloud !== undefined)
  mistral.setBehaviour({ tokens: 2 })
  const body = { prompt: 'def f(', suffix: 'return x', seed: 1 }
  const { result } = await run(cloud, body, { operation: 'completion' })
  const reply = JSON.parse(Buffer.from(result?.body ?? []).toString())
  assert.deepEqual([reply.object, firstChoices([reply])[0]?.text], ['text_completion', 'tok0 tok1'])
  assert.equal(mistral.calls.at(-1)?.path, '/v1/fim/completions')
  let streamed = ''
  const emit = (bytes: Uint8Array) => {
    streamed += Buffer.from(bytes).toString()
  }
  await run(cloud, body, { operation: 'completion', stream: true, emit })
  assert.match(streamed, /"text":"tok0"[\s\S]*"text":" tok1"[\s\S]*"finish_reason":"stop"/)
})

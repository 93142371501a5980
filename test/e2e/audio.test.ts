// Speech and transcriptions through the whole of Penstock, asked by the unmodified OpenAI SDK: what goes
// over the wire, what the books say of it, and that a client that leaves takes its call with it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI, { toFile } from 'openai'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { sha256, speechOf } from '../fakes/openai-audio.ts'
import { errorOf } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'
import { uploadOf } from './access-routes.ts'

let servers: Servers
let upstream: FakeOpenAi
let stack: Stack
let client: OpenAI

before(async () => {
  servers = await startServers()
  upstream = await startFakeOpenAi()
  const at = { api_base: upstream.url, api_key: 'sk-1' }
  const models: [name: string, litellm_params: object, model_info?: object][] = [
    ['reader', { model: 'openai/gpt-4o-mini-tts', ...at }],
    ['whisper-1', { model: 'openai/whisper-1', ...at }],
    ['listener', { model: 'openai/gpt-4o-transcribe', ...at }],
    // LiteLLM's list names both prices for the same seconds.
    [
      'by-second',
      { model: 'hosted_vllm/whisper-large', ...at },
      { input_cost_per_second: 0.001, output_cost_per_second: 0.001 },
    ],
    ['talker', { model: 'sim/lorem' }],
  ]
  const model_list = models.map(([model_name, litellm_params, model_info = {}]) => ({
    model_name,
    litellm_params,
    model_info,
  }))
  const config = { model_list, litellm_settings: { num_retries: 0 } }
  stack = await startStack({ servers, config })
  client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
after(async () => {
  await stack.close()
  await upstream.close()
  await servers.close()
})

async function rowOf({ headers }: { headers: Headers }) {
  const [row] = await stack.spend.attempts(headers.get('x-penstock-request-id') ?? '', 1)
  assert.ok(row !== undefined)
  return row
}

const audio = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, at) => at % 251))

test('speech comes in its own bytes and type, however large, at an estimate of its tokens', async () => {
  const input = 'word '.repeat(500)
  const response = await client.audio.speech.create({
    model: 'reader',
    voice: 'alloy',
    input,
    response_format: 'wav',
  })
  assert.equal(response.headers.get('content-type'), 'audio/wav')
  const bytes = Buffer.from(await response.arrayBuffer())
  assert.equal(bytes.length, 2_500_000)
  assert.ok(bytes.equals(speechOf(input)))
  const { path, body } = upstream.calls.at(-1) ?? assert.fail()
  assert.equal(path, '/audio/speech')
  assert.deepEqual(body, {
    model: 'gpt-4o-mini-tts',
    voice: 'alloy',
    input,
    response_format: 'wav',
  })
  const row = await rowOf(response)
  assert.equal(row.call_type, 'aspeech')
  assert.equal(row.usage_estimated, true)
  assert.equal(row.completion_tokens, Math.round((2_500 * 1_250) / 900))
  assert.equal(row.cost_source, 'price-table')
})

test('a large file is transcribed as it came, at the price of its tokens', async () => {
  const bytes = audio(3_000_000)
  const { data, response } = await client.audio.transcriptions
    .create({
      model: 'listener',
      file: await toFile(bytes, 'größe.mp3', { type: 'audio/mpeg' }),
      language: 'fr',
      temperature: 0,
      timestamp_granularities: ['word', 'segment'],
    })
    .withResponse()
  assert.equal(data.text, 'Bonjour.')
  const { path, body } = upstream.calls.at(-1) ?? assert.fail()
  assert.equal(path, '/audio/transcriptions')
  assert.deepEqual(body, {
    model: 'gpt-4o-transcribe',
    language: 'fr',
    temperature: '0',
    'timestamp_granularities[]': ['word', 'segment'],
    file: { name: 'größe.mp3', type: 'audio/mpeg', bytes: bytes.length, sha256: sha256(bytes) },
  })
  const row = await rowOf(response)
  assert.equal(row.call_type, 'atranscription')
  assert.equal(row.prompt_tokens, 100)
  assert.equal(row.completion_tokens, 4)
  // 10 × 2.5 + 90 × 6 + 4 × 10, per million
  assert.equal(row.spend_usd, '0.000605')
})

test('audio that is sold by its length costs what the upstream says it has', async () => {
  const file = await toFile(audio(1_000), 'a.wav')
  const { response } = await client.audio.transcriptions
    .create({ model: 'whisper-1', file })
    .withResponse()
  const listed = await rowOf(response)
  // 9 s at $0.36 an hour
  assert.equal(listed.spend_usd, '0.0009')
  assert.equal(listed.cost_source, 'price-table')
  const { data, response: other } = await client.audio.translations
    .create({ model: 'by-second', file })
    .withResponse()
  assert.equal(data.text, 'Hello.')
  const configured = await rowOf(other)
  assert.equal(configured.call_type, 'atranslation')
  assert.equal(configured.spend_usd, '0.009')
})

test('plain text stays plain text; how long the audio was is an estimate then, and said to be', async () => {
  const file = await toFile(audio(1_000), 'a.wav')
  const { data, response } = await client.audio.transcriptions
    .create({ model: 'whisper-1', file, response_format: 'srt' })
    .withResponse()
  assert.equal(data, 'Bonjour.\n')
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain/)
  const row = await rowOf(response)
  assert.equal(row.usage_estimated, true)
  // 8 characters of 900 a minute, at $0.36 an hour
  assert.equal(row.spend_usd, '0.0000533')
})

test('what cannot be served is refused with its reason', async () => {
  const ask = (path: string, { headers, body }: ReturnType<typeof uploadOf>) =>
    stack.client.post(path, body, { headers })
  const transcriptions = '/v1/audio/transcriptions'
  const cases: [answer: ReturnType<typeof ask>, status: number, reason: RegExp][] = [
    [ask(transcriptions, uploadOf('x', { model: 'talker' })), 404, /has no route/],
    [ask(transcriptions, uploadOf('x', { model: 'listener', stream: 'true' })), 400, /stream/],
    [ask(transcriptions, uploadOf('x', {})), 400, /model/],
    [ask(transcriptions, uploadOf('x'.repeat(27_000_000), { model: 'listener' })), 413, /25 MB/],
    [stack.client.post(transcriptions, { model: 'listener' }), 415, /multipart/],
    [stack.client.post('/v1/audio/speech', { model: 'talker', input: 'x' }), 404, /has no route/],
    [
      stack.client.post('/v1/audio/speech', { model: 'reader', input: 'x', stream_format: 'sse' }),
      400,
      /not sent as events/,
    ],
  ]
  for (const [asked, status, reason] of cases) {
    const answer = await asked
    assert.equal(answer.status, status, answer.text)
    assert.match(errorOf(answer).message, reason)
  }
})

test('a repeat with the same Idempotency-Key gets the same audio and asks nobody', async () => {
  const { started } = upstream.counts
  const speak = async () => {
    const fields = { model: 'reader', voice: 'alloy', input: 'hello' } as const
    const headers = { 'idempotency-key': 'spoken-once' }
    const response = await client.audio.speech.create(fields, { headers })
    assert.equal(response.headers.get('content-type'), 'audio/mpeg')
    return Buffer.from(await response.arrayBuffer())
  }
  const first = await speak()
  assert.ok(first.equals(speechOf('hello')))
  assert.ok(first.equals(await speak()))
  assert.equal(upstream.counts.started, started + 1)
})

test('a client that leaves takes the upstream call with it', async () => {
  upstream.setBehaviour({ fault: { kind: 'hang' } })
  const file = await toFile(audio(1_000), 'a.wav')
  const calls = [
    (signal: AbortSignal) =>
      client.audio.speech.create({ model: 'reader', voice: 'alloy', input: 'x' }, { signal }),
    (signal: AbortSignal) =>
      client.audio.transcriptions.create({ model: 'listener', file }, { signal }),
  ]
  for (const call of calls) {
    const { aborted, started } = { ...upstream.counts }
    const leaving = new AbortController()
    const left = assert.rejects(call(leaving.signal))
    await upstream.until((counts) => counts.started === started + 1)
    leaving.abort()
    await left
    await upstream.until((counts) => counts.aborted === aborted + 1)
  }
  upstream.setBehaviour('normal')
})

// The replies have the fields that OpenAI's SDK (`Transcription`), vLLM's `TranscriptionResponse` and
// Mistral's API reference ("Create Transcription") name; they are no recordings.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { RoutedOperation } from '@penstock/shared/contracts/request'
import { azure } from './azure.ts'
import { mistral } from './mistral.ts'
import { openai, vllm } from './openai.ts'
import { openAiFamily } from './openai-family.ts'
import type { ProviderEntry } from './provider.ts'
import { testCall } from './provider-test-kit.ts'
import { runOperation } from './run-operation.ts'
import { type CallOptions, json, upstreamForTests } from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

const file = { filename: 'a.mp3', contentType: 'audio/mpeg', bytes: Buffer.from([0, 255, 13, 10]) }

function run(
  { provider }: ProviderEntry,
  operation: RoutedOperation,
  body: Record<string, unknown>,
  deployment: CallOptions['deployment'] = {},
) {
  const at = { apiBase: `${upstream.origin}/v1`, apiKey: 'sk-1', ...deployment }
  const call = testCall(body, { deployment: at })
  return runOperation(provider, operation, operation === 'speech' ? call : { ...call, file })
}

function sent() {
  const [one = assert.fail()] = upstream.received
  return one
}

async function contentOf(value: unknown): Promise<Buffer> {
  assert.ok(value instanceof File)
  return Buffer.from(await value.arrayBuffer())
}

test('a file is sent with its name, type and bytes, the fields as texts', async () => {
  upstream.answers.push(json({ text: 'hi' }))
  const defaults = { temperature: 0.5, extra_body: { hotwords: ['a'] }, api_version: 'x' }
  const fields = { language: 'en', stream: 'false', cache: '{}', ...defaults }
  const { usage, contentType } = await run(openai, 'transcription', fields)
  assert.equal(usage, null)
  assert.equal(contentType, undefined)
  const { url, headers, body } = sent()
  assert.equal(url, '/v1/audio/transcriptions')
  assert.equal(headers.authorization, 'Bearer sk-1')
  const { file: received, ...rest } = body
  assert.deepEqual(rest, { language: 'en', temperature: '0.5', hotwords: 'a', model: 'llama3.2' })
  assert.ok(received instanceof File)
  assert.equal(received.name, 'a.mp3')
  assert.equal(received.type, 'audio/mpeg')
  assert.deepEqual(await contentOf(received), file.bytes)
})

test('Azure has it at the URL of the deployment, groq at its own, Mistral without brackets', async () => {
  upstream.answers.push(json({ text: 'hi' }))
  const at = { apiBase: upstream.origin, defaults: { api_version: '2024-06-01' } }
  await run(azure, 'translation', {}, at)
  const groq = openAiFamily.find(({ prefixes }) => prefixes.includes('groq')) ?? assert.fail()
  await run(groq, 'transcription', {}, { apiBase: `${upstream.origin}/openai/v1` })
  await run(mistral, 'transcription', { 'timestamp_granularities[]': 'word' })
  assert.deepEqual(
    upstream.received.map(({ url }) => url),
    [
      '/openai/deployments/llama3.2/audio/translations?api-version=2024-06-01',
      '/openai/v1/audio/transcriptions',
      '/v1/audio/transcriptions',
    ],
  )
  assert.equal(upstream.received[2]?.body.timestamp_granularities, 'word')
})

describe('what was listened to is read from', () => {
  const cases: [what: string, entry: ProviderEntry, reply: object, usage: object][] = [
    [
      "OpenAI's tokens",
      openai,
      {
        usage: {
          type: 'tokens',
          input_tokens: 14,
          input_token_details: { text_tokens: 4, audio_tokens: 10 },
          output_tokens: 45,
          total_tokens: 59,
        },
      },
      { promptTokens: 14, audioPromptTokens: 10, completionTokens: 45 },
    ],
    ["vLLM's seconds", vllm, { usage: { type: 'duration', seconds: 9 } }, { audioMs: 9_000 }],
    ['a duration, as text too', openai, { duration: '8.47' }, { audioMs: 8_470 }],
    [
      "Mistral's tokens and seconds",
      mistral,
      {
        usage: {
          prompt_audio_seconds: 203,
          prompt_tokens: 4,
          total_tokens: 3_264,
          completion_tokens: 635,
        },
      },
      { promptTokens: 4, completionTokens: 635, audioMs: 203_000 },
    ],
  ]
  for (const [what, entry, reply, usage] of cases) {
    test(what, async () => {
      upstream.answers.push(json({ text: 'hi', ...reply }))
      const result = await run(entry, 'transcription', {})
      assert.partialDeepStrictEqual(result.usage, { ...usage, estimated: false })
    })
  }
})

function answerWith(type: string, body: string | Buffer) {
  upstream.answers.push((response) => {
    response.writeHead(200, { 'content-type': type }).end(body)
  })
}

test('audio and plain text keep their bytes and their type', async () => {
  const speech = Buffer.from([255, 0, 200])
  answerWith('audio/mpeg', speech)
  const spoken = await run(openai, 'speech', { input: 'hi', voice: 'alloy' })
  assert.deepEqual(spoken, { body: spoken.body, contentType: 'audio/mpeg', usage: null })
  assert.deepEqual(Buffer.from(spoken.body ?? []), speech)
  assert.deepEqual(sent().body, { input: 'hi', voice: 'alloy', model: 'llama3.2' })
  upstream.answers.length = 0
  answerWith('text/vtt', '')
  const { contentType, body } = await run(openai, 'transcription', { response_format: 'vtt' })
  assert.equal(contentType, 'text/vtt')
  assert.equal(body?.length, 0, 'silence')
})

test('an answer that is something else is none', async () => {
  const cases: [RoutedOperation, type: string, body: string][] = [
    ['speech', 'text/html', '<html>'],
    ['speech', 'audio/mpeg', ''],
    ['speech', 'application/json', '{}'],
    ['transcription', 'text/html', '<html>'],
    ['transcription', 'application/json', '{"texts":[]}'],
    ['transcription', 'application/json', '{'],
  ]
  for (const [operation, type, body] of cases) {
    upstream.answers.length = 0
    answerWith(type, body)
    await assert.rejects(run(openai, operation, {}), { code: 'upstream_invalid_response' })
  }
})

test('an upstream without the route is not held to be broken', async () => {
  upstream.answers.push(json({ detail: 'Not Found' }, 404))
  await assert.rejects(run(vllm, 'translation', {}), (error) => {
    assert.ok(error instanceof PenstockError)
    assert.equal(error.code, 'unsupported_parameter')
    assert.equal(error.info.status, 404)
    return true
  })
  await assert.rejects(run(vllm, 'speech', {}), /has no route/)
})

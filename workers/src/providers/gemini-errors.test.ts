// How Gemini fails: refusals, blocks, streams that break, answers that are none.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PenstockError } from '@penstock/shared/contracts/errors'
import { gemini } from './gemini.ts'
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
  const deployment = { apiBase: upstream.origin, apiKey: 'AIza-1', ...options.deployment }
  return runCall(gemini.provider, body, { model: 'gemini-3-flash', ...options, deployment })
}

test('a blocked prompt, or an answer that is filtered before its first word, is refused', async () => {
  const filtered = { candidates: [{ finishReason: 'SAFETY', index: 0 }] }
  for (const body of [fixture('blocked-reply.json'), JSON.stringify(filtered)]) {
    upstream.answer(json(body))
    await assert.rejects(run({ messages }), failsWith('content_policy_violation'))
    upstream.answer(sse(`data: ${JSON.stringify(JSON.parse(body))}\r\n\r\n`))
    const stream = run({ messages }, { stream: true })
    await assert.rejects(stream, failsWith('content_policy_violation'))
  }
  const begun = { content: { parts: [{ text: 'Well' }] }, finishReason: 'PROHIBITED_CONTENT' }
  upstream.answer(json({ candidates: [begun] }))
  const [choice] = firstChoices([(await run({ messages })).reply])
  assert.equal(choice?.finish_reason, 'content_filter')
})

// The bodies: gemini-cli#4231 (context), vercel/ai#22372 (level), google.rpc.ErrorInfo (key).
test('each refusal of Gemini’s has its code', async () => {
  const error = (code: number, status: string, message: string, details: object[] = []) =>
    JSON.stringify({ error: { code, message, status, details } })
  const key = { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' }
  const long =
    'The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).'
  const level = 'Thinking level MINIMAL is not supported for this model.'
  const cases = [
    [400, error(400, 'INVALID_ARGUMENT', long), 'context_window_exceeded', 400],
    [400, error(400, 'INVALID_ARGUMENT', level), 'upstream_bad_request', 400],
    [400, error(400, 'INVALID_ARGUMENT', 'API key not valid', [key]), 'upstream_auth_failed', 401],
    [403, error(403, 'PERMISSION_DENIED', 'no'), 'upstream_auth_failed', 403],
    [404, error(404, 'NOT_FOUND', 'models/x is not found'), 'upstream_not_found', 404],
    [429, fixture('rate-limit-error.json'), 'upstream_rate_limited', 429],
    [500, error(500, 'INTERNAL', 'x'), 'upstream_error', 500],
    [503, `[${error(503, 'UNAVAILABLE', 'overloaded')}]`, 'upstream_error', 503],
    [504, error(504, 'DEADLINE_EXCEEDED', 'x'), 'upstream_timeout', 504],
  ] as const
  for (const [status, body, code, kept] of cases) {
    for (const stream of [false, true]) {
      upstream.answer(json(body, status))
      await assert.rejects(run({ messages }, { stream }), (cause) => {
        const { info } = cause as PenstockError
        assert.equal(info.status, kept)
        assert.equal(info.retryAfterMs, status === 429 ? 34_400 : null)
        return failsWith(code)(cause)
      })
    }
  }
})

test('a stream that breaks is no answer, and what came before it is the client’s', async () => {
  const [first] = fixture('text-stream.sse').split('\r\n\r\n')
  const failure = { error: { code: 503, message: 'overloaded', status: 'UNAVAILABLE' } }
  const spoiled = { candidates: [{ finishReason: 'MALFORMED_FUNCTION_CALL' }] }
  const event = (value: object) => `data: ${JSON.stringify(value)}\r\n\r\n`
  const cases = [
    ['', 'upstream_cut_off'],
    ['data: {"candidates": [{"conte', 'upstream_cut_off'],
    [event(failure), 'upstream_error'],
    [event(spoiled), 'upstream_invalid_response'],
    ['data: garbage\r\n\r\n', 'upstream_invalid_response'],
  ] as const
  for (const [bytes, code] of cases) {
    for (const size of [1, 100_000]) {
      upstream.answer(sse(`${first}\r\n\r\n${bytes}`, size))
      const emitted: Uint8Array[] = []
      const emit = (events: Uint8Array) => void emitted.push(events)
      await assert.rejects(run({ messages }, { stream: true, emit }), failsWith(code), bytes)
      assert.equal(parseEvents(Buffer.concat(emitted)).length, 2)
    }
  }
  upstream.answer(json(fixture('text-reply.json')))
  const unstreamed = run({ messages }, { stream: true })
  await assert.rejects(unstreamed, failsWith('upstream_invalid_response'))
})

test('what is no answer of its API’s form is upstream_invalid_response', async () => {
  for (const text of [
    'not json',
    '[]',
    '{}',
    '{"candidates":[]}',
    '{"candidates":[{"content":1}]}',
  ]) {
    upstream.answer(json(text))
    await assert.rejects(run({ messages }), failsWith('upstream_invalid_response'))
  }
})

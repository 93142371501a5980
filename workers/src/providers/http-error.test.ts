// Error replies as upstreams document or really send them, and what becomes of them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { readError, streamedError, upstreamError } from './http-error.ts'

const openai = (message: string, code: string | null = null, param: string | null = null) =>
  JSON.stringify({ error: { message, type: 'invalid_request_error', param, code } })

test('each status has its code; 4xx and 5xx keep their own status', () => {
  const cases: [number, string, number][] = [
    [301, 'upstream_invalid_response', 502],
    [400, 'upstream_bad_request', 400],
    [401, 'upstream_auth_failed', 401],
    [402, 'upstream_auth_failed', 402],
    [403, 'upstream_auth_failed', 403],
    [404, 'upstream_not_found', 404],
    [408, 'upstream_timeout', 504],
    [409, 'upstream_bad_request', 409],
    [413, 'request_too_large', 413],
    [422, 'upstream_bad_request', 422],
    [429, 'upstream_rate_limited', 429],
    [500, 'upstream_error', 500],
    [503, 'upstream_error', 503],
    [504, 'upstream_timeout', 504],
    [529, 'upstream_error', 529],
    [999, 'upstream_error', 502],
  ]
  for (const [status, code, becomes] of cases) {
    const error = upstreamError(status, {}, openai('no'))
    assert.deepEqual([error.code, error.info.status], [code, becomes], `status ${status}`)
  }
})

test('a param of any length is cut', () => {
  const { info } = upstreamError(400, {}, openai('bad', null, 'p'.repeat(50_000)))
  assert.equal(info.param, 'p'.repeat(256))
})

test('message and param are passed on', () => {
  const error = upstreamError(400, {}, openai("'n' is too large", 'too_large', 'n'))
  assert.equal(error.info.message, "'n' is too large")
  assert.equal(error.info.param, 'n')
})

test('the error shapes of other servers are understood', () => {
  const said = (body: unknown) => upstreamError(400, {}, JSON.stringify(body)).message
  // vLLM up to 0.10: the error's fields at the top.
  assert.equal(said({ object: 'error', message: 'bad temperature', code: 400 }), 'bad temperature')
  // Ollama, TGI.
  assert.equal(said({ error: 'json: cannot unmarshal' }), 'json: cannot unmarshal')
  // FastAPI.
  assert.equal(said({ detail: 'Not Found' }), 'Not Found')
  assert.equal(
    said({ detail: [{ loc: ['body', 'n'], msg: 'not an integer' }] }),
    '[{"loc":["body","n"],"msg":"not an integer"}]',
  )
  // Mistral (Gage-Technologies/mistral-go#2; partITech/php-mistral#76).
  const extra = [{ type: 'extra_forbidden', loc: ['body', 'n'], msg: 'Extra inputs' }]
  const object = { object: 'error', type: 'invalid_request_error', param: null, code: null }
  assert.equal(said({ ...object, message: { detail: extra } }), JSON.stringify(extra))
  assert.equal(said({ ...object, message: extra, detail: extra }), JSON.stringify(extra))
  assert.equal(upstreamError(500, {}, 'Internal Server Error').message, 'Internal Server Error')
  assert.equal(upstreamError(502, {}, '<html>nginx</html>').message, 'The upstream answered 502.')
  assert.equal(upstreamError(500, {}, '').message, 'The upstream answered 500.')
  assert.equal(upstreamError(500, {}, 'null').message, 'null')
})

test('a prompt beyond the context window is recognised', () => {
  const bodies = [
    openai('too long', 'context_length_exceeded', 'messages'),
    // vLLM before 0.16, from its issue 20409
    JSON.stringify({
      object: 'error',
      message:
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens",
      type: 'BadRequestError',
      param: null,
      code: 400,
    }),
    // vLLM 0.16 and later, from harbor-framework/harbor#996
    JSON.stringify({
      error: {
        message:
          "You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 1024 tokens",
        type: 'BadRequestError',
        param: 'input_tokens',
        code: 400,
      },
    }),
    // llama.cpp's server
    JSON.stringify({
      error: {
        code: 400,
        message: 'request (13392 tokens) exceeds the available context size (8192 tokens)',
        type: 'exceed_context_size_error',
        n_prompt_tokens: 13392,
        n_ctx: 8192,
      },
    }),
  ]
  for (const body of bodies) {
    const error = upstreamError(400, {}, body)
    assert.equal(error.code, 'context_window_exceeded', body)
    assert.equal(error.info.status, 400)
  }
  assert.equal(upstreamError(400, {}, openai('length of n')).code, 'upstream_bad_request')
})

test('a refusal by a content filter is recognised, Azure’s nested code included', () => {
  const azure = JSON.stringify({
    error: {
      message: 'The response was filtered',
      type: null,
      param: 'prompt',
      code: 'content_filter',
      status: 400,
      innererror: { code: 'ResponsibleAIPolicyViolation' },
    },
  })
  assert.equal(upstreamError(400, {}, azure).code, 'content_policy_violation')
  const images = openai('rejected', 'content_policy_violation')
  assert.equal(upstreamError(400, {}, images).code, 'content_policy_violation')
})

test('refused credentials say whose they are, and no key is passed on', () => {
  const bodies = [
    openai('Incorrect API key provided: sk-proj-abcDEF123456. Find it at https://x.'),
    openai('Incorrect API key provided: sk-ab***************************************cdEF.'),
    openai('invalid token 0a1b2c3d4e5f60718293a4b5'),
    openai('Bearer abc.def.ghi was rejected'),
  ]
  for (const body of bodies) {
    const { message } = upstreamError(401, {}, body)
    assert.match(
      message,
      /^The upstream refused Penstock's credentials, not yours \(401\)\. It said/,
    )
    assert.match(message, /\[masked\]/)
    assert.doesNotMatch(message, /abcDEF|cdEF|0a1b2c|abc\.def/)
  }
  const elsewhere = upstreamError(
    500,
    {},
    openai('key sk-proj-abcDEF123456 request req_0123456789'),
  )
  assert.equal(elsewhere.message, 'key [masked] request req_0123456789')
})

test('Retry-After is read in all its forms and bounded to a day', () => {
  const after = (headers: Record<string, string>) =>
    upstreamError(429, headers, '').info.retryAfterMs
  assert.equal(after({ 'retry-after': '7' }), 7_000)
  assert.equal(after({ 'retry-after': '0.5' }), 500)
  assert.equal(after({ 'retry-after-ms': '250', 'retry-after': '7' }), 250)
  assert.equal(after({ 'retry-after': '99999999' }), 86_400_000)
  assert.equal(after({ 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }), 0)
  const inAnHour = after({ 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() })
  assert.ok(inAnHour !== null && inAnHour > 3_500_000 && inAnHour <= 3_600_000)
  assert.equal(after({ 'retry-after': 'soon' }), null)
  assert.equal(after({}), null)
})

test('a message is at most 2,000 characters and an error body is read up to a bound', async () => {
  assert.equal(upstreamError(500, {}, 'x'.repeat(50_000)).message.length, 2_000)
  let pulled = 0
  async function* endless() {
    for (; pulled < 1_000_000; pulled += 1) yield Buffer.alloc(10_000, 'x')
  }
  const error = await readError({ status: 500, headers: {}, body: endless() })
  assert.equal(error.info.status, 500)
  assert.ok(pulled < 10)
})

test('an error body that breaks off still has its status; an abort goes through', async () => {
  async function* broken(reason: unknown) {
    yield Buffer.from('over')
    throw reason
  }
  const cut = new PenstockError('upstream_cut_off', 'cut')
  const error = await readError({ status: 503, headers: {}, body: broken(cut) })
  assert.deepEqual([error.info.status, error.message], [503, 'over'])
  const reason = new Error('left')
  const reading = readError({ status: 503, headers: {}, body: broken(reason) })
  await assert.rejects(reading, (thrown) => thrown === reason)
})

test('an error inside a stream takes its status from a numeric code', () => {
  const vllm = '{"error":{"message":"boom","type":"InternalServerError","param":null,"code":500}}'
  assert.deepEqual(streamedError(vllm).info, {
    code: 'upstream_error',
    status: 500,
    message: 'boom',
    param: null,
    retryAfterMs: null,
  })
  const openaiEvent =
    '{"error":{"message":"server had an error","type":"server_error","code":null}}'
  assert.equal(streamedError(openaiEvent).info.status, 502)
  const context = '{"error":{"message":"too long","code":"context_length_exceeded"}}'
  assert.equal(streamedError(context).code, 'context_window_exceeded')
})

test('a rate limit without Retry-After lasts until the spent one of its windows begins anew', () => {
  const spent = {
    'x-ratelimit-remaining-requests': '0',
    'x-ratelimit-reset-requests': '2m59.56s',
    'x-ratelimit-remaining-tokens': '17000',
    'x-ratelimit-reset-tokens': '7m',
  }
  assert.equal(upstreamError(429, spent, openai('slow down')).info.retryAfterMs, 179_560)
  assert.equal(upstreamError(503, spent, openai('busy')).info.retryAfterMs, null)
  const told = { ...spent, 'retry-after': '1' }
  assert.equal(upstreamError(429, told, openai('slow down')).info.retryAfterMs, 1_000)
})

// OpenRouter, "Errors and Debugging", section "Moderation Errors".
test('a prompt flagged by a moderation in front of the model is a content policy violation', () => {
  const metadata = { reasons: ['violence'], flagged_input: 'I will…', provider_name: 'OpenAI' }
  const body = JSON.stringify({ error: { code: 403, message: 'flagged', metadata } })
  assert.equal(upstreamError(403, {}, body).code, 'content_policy_violation')
  const plain = JSON.stringify({ error: { code: 403, message: 'no', metadata: {} } })
  assert.equal(upstreamError(403, {}, plain).code, 'upstream_auth_failed')
})

// Anthropic's errors (docs: api/errors, api/rate-limits) as Penstock's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anthropicError, streamedAnthropicError } from './anthropic-errors.ts'

const now = Date.parse('2026-05-04T12:00:00Z')
const body = (type: string, message: string, details?: object) =>
  JSON.stringify({
    type: 'error',
    error: { type, message, ...(details === undefined ? {} : { details }) },
    request_id: 'req_011CSHoEeqs5C35K2UUqR7Fy',
  })
const map = (status: number, type: string, message: string, headers = {}, details?: object) =>
  anthropicError(status, headers, body(type, message, details), now).info

test('each documented type keeps its status and has its code', () => {
  const cases = [
    [400, 'invalid_request_error', 'upstream_bad_request', 400],
    [401, 'authentication_error', 'upstream_auth_failed', 401],
    [402, 'billing_error', 'upstream_auth_failed', 402],
    [403, 'permission_error', 'upstream_auth_failed', 403],
    [404, 'not_found_error', 'upstream_not_found', 404],
    [409, 'conflict_error', 'upstream_bad_request', 409],
    [413, 'request_too_large', 'request_too_large', 413],
    [429, 'rate_limit_error', 'upstream_rate_limited', 429],
    [500, 'api_error', 'upstream_error', 500],
    [504, 'timeout_error', 'upstream_timeout', 504],
    [529, 'overloaded_error', 'upstream_error', 529],
  ] as const
  for (const [status, type, code, told] of cases) {
    const info = map(status, type, 'The requested resource could not be found.')
    assert.deepEqual([info.code, info.status], [code, told], type)
    const streamed = streamedAnthropicError(body(type, 'x')).info
    assert.deepEqual([streamed.code, streamed.status], [code, told], `${type} in a stream`)
  }
  assert.equal(streamedAnthropicError(body('unheard_of', 'x')).info.status, 502)
})

test('a prompt that does not fit is known by its sentences', () => {
  const sentences = [
    'prompt is too long: 210266 tokens > 200000 maximum',
    'input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again',
  ]
  for (const message of sentences) {
    const info = map(400, 'invalid_request_error', message)
    assert.deepEqual(
      [info.code, info.status, info.message],
      ['context_window_exceeded', 400, message],
    )
  }
})

test('blocked output is the content policy’s', () => {
  const message = 'Output blocked by content filtering policy'
  assert.equal(map(400, 'invalid_request_error', message).code, 'content_policy_violation')
})

test('spent credit and spend limits are the account’s fault: no waiting helps', () => {
  const credit =
    'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.'
  assert.equal(map(400, 'invalid_request_error', credit).code, 'upstream_auth_failed')
  const details = { error_code: 'enforced_spend_limit_reached' }
  const spent = map(429, 'rate_limit_error', 'Usage limit.', {}, details)
  assert.deepEqual([spent.code, spent.status], ['upstream_auth_failed', 429])
})

test('the wait is Retry-After’s, else that of the last exhausted limit', () => {
  const limits = {
    'anthropic-ratelimit-requests-remaining': '0',
    'anthropic-ratelimit-requests-reset': '2026-05-04T12:00:05Z',
    'anthropic-ratelimit-input-tokens-remaining': '0',
    'anthropic-ratelimit-input-tokens-reset': '2026-05-04T12:00:30Z',
    'anthropic-ratelimit-output-tokens-remaining': '100',
    'anthropic-ratelimit-output-tokens-reset': '2026-05-04T13:00:00Z',
  }
  const wait = (headers: object) => map(429, 'rate_limit_error', 'x', headers).retryAfterMs
  assert.equal(wait({ ...limits, 'retry-after': '3' }), 3_000)
  assert.equal(wait(limits), 30_000)
  assert.equal(wait({ 'anthropic-ratelimit-requests-remaining': '0' }), null)
  assert.equal(map(529, 'overloaded_error', 'x', limits).retryAfterMs, null)
})

test('keys are masked, and a page of a proxy says nothing', () => {
  const { message } = map(401, 'authentication_error', 'invalid x-api-key: sk-ant-api03-abcdef')
  assert.doesNotMatch(message, /abcdef/)
  const page = anthropicError(502, {}, '<html>Bad Gateway</html>', now).info
  assert.deepEqual([page.code, page.message], ['upstream_error', 'The upstream answered 502.'])
})

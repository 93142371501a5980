import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noUsage } from '@penstock/shared/contracts/usage'
import { answeredLine, failedLine, unaskedLine } from './output-line.ts'
import { prepareLine } from './prepare-line.ts'

const messages = [{ role: 'user', content: 'hello' }]
const end = { head: null, usage: noUsage, startedAt: 0, endedAt: 0 }
const id = '01900000-0000-7000-8000-000000000000'

test('each endpoint is its operation, and its body travels as it was written', () => {
  const chat = prepareLine('/v1/chat/completions', { model: 'm', messages, extra: { kept: 1 } })
  assert.equal(chat.operation, 'chat')
  assert.deepEqual(JSON.parse(chat.body.toString()), { model: 'm', messages, extra: { kept: 1 } })
  assert.equal(prepareLine('/v1/completions', { model: 'm', prompt: 'p' }).operation, 'completion')
  assert.equal(prepareLine('/v1/embeddings', { model: 'm', input: 'i' }).operation, 'embedding')
  const missing = () => prepareLine('/v1/chat/completions', { model: 'm' })
  assert.throws(missing, { code: 'invalid_request', message: /messages/ })
  assert.throws(() => prepareLine('/v1/images', {}), { code: 'unsupported_parameter' })
})

test('Anthropic messages are asked as they are, and answered in their own form', () => {
  const body = { model: 'm', max_tokens: 5, messages }
  const prepared = prepareLine('/v1/messages', body)
  assert.deepEqual([prepared.operation, prepared.dialect], ['chat', 'messages'])
  assert.deepEqual(JSON.parse(prepared.body.toString()), body)
  const answer = {
    id: 'chatcmpl-1',
    model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
  }
  const text = prepared.answerText(null, Buffer.from(JSON.stringify(answer)), end)
  assert.equal(JSON.parse(text).type, 'message')
})

test('an answer over several lines becomes one; one that is no JSON is an error of the upstream', () => {
  const { answerText } = prepareLine('/v1/completions', { model: 'm', prompt: 'p' })
  assert.equal(answerText(null, Buffer.from('{\n  "a": "x\\ny"\r\n}'), end), '{"a":"x\\ny"}')
  assert.equal(answerText(null, Buffer.from('{"a": 1.10}'), end), '{"a": 1.10}')
  assert.throws(() => answerText(null, Buffer.from('oh\nno'), end), {
    code: 'upstream_invalid_response',
  })
})

test('output and error lines are what OpenAI writes', () => {
  assert.deepEqual(JSON.parse(answeredLine(id, 'a"b', '{"x":1}')), {
    id: `batch_req_${id.replaceAll('-', '')}`,
    custom_id: 'a"b',
    response: { status_code: 200, request_id: id, body: { x: 1 } },
    error: null,
  })
  const info = { code: 'rate_limited', status: 429, message: 'm', param: null, retryAfterMs: null }
  const failed = JSON.parse(failedLine(id, 'c', { ...info, code: 'rate_limited' }, { error: 'e' }))
  assert.deepEqual(failed.response, { status_code: 429, request_id: id, body: { error: 'e' } })
  const expired = JSON.parse(unaskedLine('d', 'batch_expired'))
  assert.equal(expired.response, null)
  assert.equal(expired.error.code, 'batch_expired')
})

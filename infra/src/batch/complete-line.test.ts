import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { completeLine, type Defaults, LineFault } from './complete-line.ts'

const defaults: Defaults = { model: 'llama3', endpoint: undefined }
const complete = (line: object, given: Partial<Defaults> = {}) => {
  const { endpoint, rewritten } = completeLine(JSON.stringify(line), 7, { ...defaults, ...given })
  return { endpoint, line: rewritten === null ? null : JSON.parse(rewritten) }
}
const chat = '/v1/chat/completions'
const messages = [{ role: 'user', content: 'hello' }]

describe('a line of an input file', () => {
  test('that is complete stays as it is', () => {
    const body = { model: 'm', messages }
    const line = { custom_id: 'a', method: 'POST', url: chat, body }
    assert.deepEqual(complete(line), { endpoint: chat, line: null })
  })

  test('that has only what is asked gets the rest', () => {
    const whole = { custom_id: 'line-7', method: 'POST', url: chat }
    const body = { model: 'llama3', messages, temperature: 0 }
    assert.deepEqual(complete({ prompt: 'hello', temperature: 0 }).line, { ...whole, body })
    assert.deepEqual(complete({ messages, temperature: 0 }).line, { ...whole, body })
    assert.deepEqual(complete({ url: chat, body: { messages, temperature: 0 } }).line, {
      ...whole,
      body,
    })
    assert.equal(complete({ custom_id: 'mine', prompt: 'hello' }).line.custom_id, 'mine')
  })

  test('keeps its own model', () => {
    assert.equal(complete({ prompt: 'hello', model: 'other' }).line.body.model, 'other')
  })

  test('asks the endpoint that its fields fit, or the one that was named', () => {
    assert.equal(complete({ input: 'hello' }).endpoint, '/v1/embeddings')
    const endpoint = '/v1/completions'
    assert.deepEqual(complete({ prompt: 'hello' }, { endpoint }).line, {
      custom_id: 'line-7',
      method: 'POST',
      url: endpoint,
      body: { model: 'llama3', prompt: 'hello' },
    })
    assert.equal(
      complete({ input: 'hello' }, { endpoint: '/v1/responses' }).line.url,
      '/v1/responses',
    )
  })

  test('that cannot be completed is refused with the reason', () => {
    const refused = (text: string, reason: RegExp, given = defaults) =>
      assert.throws(
        () => completeLine(text, 1, given),
        (error) => error instanceof LineFault && reason.test(error.message),
      )
    refused('{"prompt"', /not valid JSON/)
    refused('[1]', /no JSON object/)
    refused('{"text": "hello"}', /none of "messages", "prompt" and "input"/)
    refused('{"prompt": 3}', /"prompt" that is no text/)
    refused('{"prompt": "a", "messages": []}', /both/)
    refused('{"url": "/v1/models", "body": {}}', /the url "\/v1\/models"/)
    refused('{"url": "/v1/models"}', /"body" that is no JSON object/)
    refused('{"prompt": "a"}', /--model/, { ...defaults, model: undefined })
  })
})

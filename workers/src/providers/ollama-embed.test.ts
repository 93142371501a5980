import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embedCall } from './ollama-embed.ts'
import { failsWith, jsonFixture, testCall } from './provider-test-kit.ts'

const model = 'all-minilm'

function call(body: Record<string, unknown>) {
  return embedCall(testCall(body, { operation: 'embedding', model }))
}

test('one text and several are sent as a list, with dimensions beside it', () => {
  assert.deepEqual(call({ input: 'a', user: 'u' }).request, { model, input: ['a'] })
  assert.deepEqual(call({ input: ['a', 'b'], dimensions: 256, encoding_format: 'float' }).request, {
    model,
    input: ['a', 'b'],
    dimensions: 256,
  })
})

test('tokens are refused, and nothing to embed is invalid', () => {
  for (const input of [
    [1, 2, 3],
    [[1, 2], [3]],
    ['a', 5],
  ]) {
    assert.throws(() => call({ input }), failsWith('unsupported_parameter', 'input'))
  }
  for (const input of ['', [], undefined, 5]) {
    assert.throws(() => call({ input }), failsWith('invalid_request', 'input'))
  }
  assert.throws(
    () => call({ input: 'a', encoding_format: 'hex' }),
    failsWith('invalid_request', 'encoding_format'),
  )
})

test('vectors come back as numbers with the tokens that were read', () => {
  const { body, usage } = call({ input: 'a' }).reply(jsonFixture('embed-reply.json'))
  assert.deepEqual(body, {
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: [0.010071029, -0.0017594862, 0.5, -1] }],
    model,
    usage: { prompt_tokens: 8, total_tokens: 8 },
  })
  assert.equal(usage?.promptTokens, 8)
  assert.equal(usage?.completionTokens, 0)
})

test('base64 holds the same vector as little-endian float32', () => {
  const asked = call({ input: 'a', encoding_format: 'base64' })
  const { body } = asked.reply(jsonFixture('embed-reply.json'))
  const [first] = (body as { data: { embedding: string }[] }).data
  const bytes = Buffer.from(first?.embedding ?? '', 'base64')
  assert.equal(bytes.length, 16)
  const vector = [0, 4, 8, 12].map((offset) => bytes.readFloatLE(offset))
  assert.deepEqual(vector, [0.010071029, -0.0017594862, 0.5, -1].map(Math.fround))
})

test('several vectors keep their order; without a count there is no usage', () => {
  const { body, usage } = call({ input: ['a', 'b'] }).reply(jsonFixture('embed-many-reply.json'))
  const { data } = body as { data: { index: number; embedding: number[] }[] }
  assert.deepEqual(
    data.map(({ index, embedding }) => [index, embedding]),
    [
      [0, [0.25, -0.5]],
      [1, [0.125, 1]],
    ],
  )
  assert.equal(usage, null)
  assert.equal('usage' in body, false)
})

test('an answer that does not fit the question is an invalid response', () => {
  const { reply } = call({ input: ['a', 'b'] })
  for (const wrong of [{}, { embeddings: [[1]] }, { embeddings: [[1], ['x']] }]) {
    assert.throws(() => reply(wrong), failsWith('upstream_invalid_response'))
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateCall } from './ollama-generate.ts'
import { translateStream } from './ollama-stream.ts'
import {
  failsWith,
  fixture,
  inPieces,
  jsonFixture,
  parseEvents,
  testCall,
} from './provider-test-kit.ts'

const model = 'codellama:code'

function request(body: Record<string, unknown>) {
  return generateCall(testCall(body, { operation: 'completion', model })).request
}

test('a prompt without suffix is continued raw', () => {
  const prompt = '<PRE> def gcd(a, b): <SUF>    return a <MID>'
  assert.deepEqual(request({ prompt, max_tokens: 16 }), {
    model,
    prompt,
    raw: true,
    options: { num_predict: 16 },
    stream: false,
  })
})

test("a suffix is arranged by the model's template, so it is not raw", () => {
  const body = { prompt: 'def gcd(a, b):', suffix: '    return a' }
  assert.deepEqual(request(body), { model, ...body, stream: false })
  assert.deepEqual(request({ ...body, raw: true }), { model, ...body, stream: false })
})

test('an empty suffix is none', () => {
  assert.deepEqual(request({ prompt: 'a', suffix: '' }), {
    model,
    prompt: 'a',
    raw: true,
    stream: false,
  })
})

test('raw gives way to raw: false and to what Ollama refuses beside it', () => {
  assert.equal(request({ prompt: 'a', raw: false }).raw, undefined)
  assert.equal(request({ prompt: 'a', system: 'Be brief.' }).raw, undefined)
  assert.equal(request({ prompt: 'a', template: '{{ .Prompt }}' }).raw, undefined)
})

test('a list of one prompt is that prompt', () => {
  assert.equal(request({ prompt: ['a'] }).prompt, 'a')
})

test('several prompts and tokens are refused', () => {
  for (const prompt of [['a', 'b'], [1, 2], [[1, 2]], [5]]) {
    assert.throws(() => request({ prompt }), failsWith('unsupported_parameter', 'prompt'))
  }
  assert.throws(() => request({ prompt: [] }), failsWith('invalid_request', 'prompt'))
  assert.throws(() => request({}), failsWith('invalid_request', 'prompt'))
})

test('echo, best_of, n and logprobs are refused by name', () => {
  for (const asked of [{ echo: true }, { best_of: 2 }, { n: 2 }, { logprobs: 0 }]) {
    const [name] = Object.keys(asked)
    assert.throws(
      () => request({ prompt: 'a', ...asked }),
      failsWith('unsupported_parameter', name),
    )
  }
})

test('a whole reply becomes a text_completion', () => {
  const call = generateCall(testCall({ prompt: 'a' }, { operation: 'completion', model }))
  const { body, usage } = call.reply(jsonFixture('generate-suffix-reply.json'))
  const { id, created, ...rest } = body as Record<string, unknown>
  assert.match(String(id), /^cmpl-[0-9a-f]{32}$/)
  assert.equal(typeof created, 'number')
  assert.deepEqual(rest, {
    object: 'text_completion',
    model,
    choices: [
      {
        index: 0,
        text: '\n    while b:\n        a, b = b, a % b\n',
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 17, completion_tokens: 15, total_tokens: 32 },
  })
  assert.equal(usage?.completionTokens, 15)
})

test('a stream becomes text_completion chunks, the text of the last line included', async () => {
  const options = { operation: 'completion', model, stream: true, includeUsage: true } as const
  for (const size of [1, 2, 3, 7, 100_000]) {
    const start = generateCall(testCall({ prompt: 'a' }, options)).stream
    assert.ok(start !== null)
    const emitted: Uint8Array[] = []
    const body = inPieces(fixture('generate-stream.ndjson'), size)
    await translateStream(body, model, start(), (events) => emitted.push(events))
    const events = parseEvents(Buffer.concat(emitted))
    const choices = events.flatMap((event) => event.choices as Record<string, unknown>[])
    assert.deepEqual(
      choices.map(({ text, finish_reason: reason }) => [text, reason]),
      [
        ['return', null],
        [' a', null],
        [' %', null],
        [' b', null],
        ['', 'stop'],
      ],
    )
    assert.ok(events.every(({ object }) => object === 'text_completion'))
    assert.deepEqual(events.at(-1)?.usage, {
      prompt_tokens: 17,
      completion_tokens: 4,
      total_tokens: 21,
    })
  }
})

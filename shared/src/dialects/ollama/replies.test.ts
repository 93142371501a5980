// Canonical answers and streams as Ollama's clients read them. The expected forms are those of
// docs/api.md of ollama/ollama; times are the test's own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FrameEnd } from '../../bus/frame-codec.ts'
import { PenstockError } from '../../contracts/errors.ts'
import { noUsage } from '../../contracts/usage.ts'
import { ollamaChat } from './chat.ts'
import { ollamaEmbed } from './embed.ts'
import { ollamaGenerate } from './generate.ts'
import { createLines } from './lines.ts'
import { nativeTexts } from './native-texts.ts'
import { chatFields } from './replies.ts'

const request = { model: 'smart' }
const end: FrameEnd = {
  head: null,
  usage: { ...noUsage, promptTokens: 26, completionTokens: 282 },
  startedAt: 1_000,
  endedAt: 1_250,
}
const counts = {
  total_duration: 250_000_000,
  prompt_eval_count: 26,
  eval_count: 282,
}

const chunk = (delta: object, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }] })}\n\n`

const toolPiece = (index: number, fields: object) => ({ tool_calls: [{ index, ...fields }] })
const chunks = [
  chunk({ role: 'assistant', content: '' }),
  chunk({ reasoning_content: 'Hm, 水.' }),
  chunk({ content: 'Le ciel est ' }),
  chunk({ content: 'bleu 🚰\n' }),
  chunk(toolPiece(0, { id: 'call_a', function: { name: 'get_weather', arguments: '' } })),
  chunk(toolPiece(1, { id: 'call_b', function: { name: 'get_time', arguments: '{}' } })),
  chunk(toolPiece(0, { function: { arguments: '{"city":' } })),
  chunk(toolPiece(0, { function: { arguments: '"Tokyo"}' } })),
  chunk({}, 'tool_calls'),
  `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 26 } })}\n\n`,
]

function linesOf(pieces: Iterable<Uint8Array>): Record<string, unknown>[] {
  const stream = createLines('smart', chatFields, () => 1_100)
  const out: Uint8Array[] = []
  for (const piece of pieces) {
    const bytes = stream.push(piece)
    if (bytes !== null) out.push(bytes)
  }
  out.push(stream.end(end))
  const text = Buffer.concat(out).toString('utf8')
  assert.ok(text.endsWith('\n'))
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line))
}

function* cut(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test('a stream is lines of text and thinking, whole tool calls, and a last line with the counts', () => {
  const lines = linesOf([Buffer.from(chunks.join(''))])
  const line = (message: object) => ({
    model: 'smart',
    created_at: '1970-01-01T00:00:01.100Z',
    message: { role: 'assistant', ...message },
    done: false,
  })
  assert.deepEqual(lines, [
    line({ content: '', thinking: 'Hm, 水.' }),
    line({ content: 'Le ciel est ' }),
    line({ content: 'bleu 🚰\n' }),
    line({
      content: '',
      tool_calls: [
        { id: 'call_a', function: { index: 0, name: 'get_weather', arguments: { city: 'Tokyo' } } },
        { id: 'call_b', function: { index: 1, name: 'get_time', arguments: {} } },
      ],
    }),
    {
      ...line({ content: '' }),
      done: true,
      done_reason: 'stop',
      ...counts,
      // The first text came after 100 of 250 ms.
      prompt_eval_duration: 100_000_000,
      eval_duration: 150_000_000,
    },
  ])
})

test('a stream reads the same wherever its bytes are cut', () => {
  const bytes = Buffer.from(chunks.join(''))
  const whole = linesOf([bytes])
  for (let size = 1; size <= 300; size += 1) {
    assert.deepEqual(linesOf(cut(bytes, size)), whole, `cut every ${size} bytes`)
  }
})

test('a stream of a generation has its text beside the model, and ends with `length`', () => {
  const stream = ollamaGenerate.stream(request)
  const completion = (text: string, finish_reason: string | null) =>
    Buffer.from(`data: ${JSON.stringify({ choices: [{ index: 0, text, finish_reason }] })}\n\n`)
  const first = JSON.parse(String(stream.push(completion('The', null))))
  assert.partialDeepStrictEqual(first, { model: 'smart', response: 'The', done: false })
  assert.equal(stream.push(completion('', 'length')), null)
  const last = JSON.parse(String(stream.end(end)))
  assert.partialDeepStrictEqual(last, { response: '', done: true, done_reason: 'length' })
})

test('a stream that fails ends with a line of the error; one that waits says so in a valid line', () => {
  const { info } = new PenstockError('interrupted', 'The worker was lost.')
  const line = JSON.parse(Buffer.from(ollamaChat.stream(request).error(info)).toString())
  assert.deepEqual(line, { error: 'The worker was lost.' })
  assert.deepEqual(ollamaChat.errorBody(info, 'id'), { error: 'The worker was lost.' })
  assert.partialDeepStrictEqual(JSON.parse(String(ollamaChat.queued(3))), {
    message: { role: 'assistant', content: '' },
    done: false,
    queue_position: 3,
  })
})

test('tool calls without end are refused', () => {
  const stream = ollamaChat.stream(request)
  const piece = chunk(toolPiece(0, { function: { arguments: 'x'.repeat(1024 * 1024) } }))
  assert.throws(
    () => {
      for (let count = 0; count < 10; count += 1) stream.push(Buffer.from(piece))
    },
    (error) => error instanceof PenstockError && error.code === 'upstream_invalid_response',
  )
})

test('a whole answer is one object with everything in it', () => {
  const logprobs = { content: [{ token: 'Hi', logprob: -0.1, bytes: [72, 105], top_logprobs: [] }] }
  const message = {
    role: 'assistant',
    content: 'Hi',
    reasoning_content: 'Hm.',
    tool_calls: [{ id: 'call_a', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
  }
  const canonical = { choices: [{ index: 0, message, logprobs, finish_reason: 'tool_calls' }] }
  assert.deepEqual(ollamaChat.answer(canonical, request, end), {
    model: 'smart',
    created_at: '1970-01-01T00:00:01.250Z',
    message: {
      role: 'assistant',
      content: 'Hi',
      thinking: 'Hm.',
      tool_calls: [{ id: 'call_a', function: { index: 0, name: 'f', arguments: { a: 1 } } }],
    },
    done: true,
    done_reason: 'stop',
    logprobs: logprobs.content,
    ...counts,
    eval_duration: 250_000_000,
  })
  const completion = { choices: [{ text: 'x', finish_reason: 'length' }] }
  assert.partialDeepStrictEqual(ollamaGenerate.answer(completion, request, end), {
    response: 'x',
    done: true,
    done_reason: 'length',
  })
})

test('embeddings are bare vectors, one for the older endpoint', () => {
  const vectors = [
    [0.5, -0.25],
    [1, 0],
  ]
  const data = vectors.map((embedding, index) => ({ object: 'embedding', index, embedding }))
  const answer = ollamaEmbed.answer({ data }, { ...request, input: ['a', 'b'] }, end)
  assert.deepEqual(answer, {
    model: 'smart',
    embeddings: vectors,
    total_duration: 250_000_000,
    prompt_eval_count: 26,
  })
  const older = ollamaEmbed.answer({ data }, { ...request, prompt: 'a' }, end)
  assert.deepEqual(older, { embedding: vectors[0] })
})

test('the text of native lines is theirs, whatever a cut left of the last one', () => {
  const lines = [
    { message: { role: 'assistant', content: '', thinking: 'Hm.' }, done: false },
    { message: { role: 'assistant', content: 'Hi' }, done: false },
    { response: 'there', done: false },
    { message: { role: 'assistant', content: '' }, done: true },
  ]
  const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  const pieces = [bytes.subarray(0, 25), bytes.subarray(25), Buffer.from('{"message":{"con')]
  assert.deepEqual(nativeTexts(pieces), ['Hm.', 'Hi', 'there'])
})

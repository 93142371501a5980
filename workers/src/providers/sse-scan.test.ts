// The scanner on documented streams at every chunk boundary, and on what real servers make of SSE.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { createParser } from 'eventsource-parser'
import { SseScanner } from './sse-scan.ts'

const fixture = (name: string) =>
  readFileSync(new URL(`./fixtures/openai/${name}`, import.meta.url), 'utf8')

interface Outcome {
  text: string
  emits: number
  usage: unknown
  done: boolean
  error: PenstockError | null
}

/** Feeds the chunks, then the end of the body, and collects everything that comes out. */
function scan(chunks: (string | Uint8Array)[], includeUsage = true): Outcome {
  const emitted: Uint8Array[] = []
  const scanner = new SseScanner((events) => emitted.push(events), includeUsage)
  let error: PenstockError | null = null
  try {
    for (const chunk of chunks) {
      scanner.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    }
    scanner.end()
  } catch (thrown) {
    assert.ok(thrown instanceof PenstockError)
    error = thrown
  }
  const usage = scanner.usageEvent === null ? null : JSON.parse(scanner.usageEvent).usage
  const text = Buffer.concat(emitted).toString()
  return { text, emits: emitted.length, usage, done: scanner.done, error }
}

const dataOf = (text: string): unknown[] => {
  const data: unknown[] = []
  const parser = createParser({ onEvent: (event) => data.push(JSON.parse(event.data)) })
  parser.feed(text)
  return data
}

const delta = (content: string) => `{"choices":[{"index":0,"delta":{"content":"${content}"}}]}`
const finish = '{"choices":[{"index":0,"delta":{},"finish_reason": "stop"}]}'
const canonical = (...data: string[]) => data.map((json) => `data: ${json}\n\n`).join('')

for (const name of ['chat-stream.sse', 'chat-tools-stream.sse', 'completion-stream.sse']) {
  test(`${name} passes through byte for byte, cut anywhere`, () => {
    const bytes = Buffer.from(fixture(name))
    const expected = bytes.toString().replace('data: [DONE]\n\n', '')
    const whole = scan([bytes])
    assert.deepEqual([whole.text, whole.emits, whole.done], [expected, 1, true])
    assert.notEqual(whole.usage, null)
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const { text, error } = scan([bytes.subarray(0, cut), bytes.subarray(cut)])
      assert.deepEqual([text, error], [expected, null], `cut at ${cut}`)
    }
    const single = scan([...bytes].map((byte) => Buffer.from([byte])))
    assert.deepEqual([single.text, single.usage, single.error], [expected, whole.usage, null])
  })

  test(`${name} with CRLF or CR line ends becomes the same canonical events, cut anywhere`, () => {
    const expected = fixture(name).replace('data: [DONE]\n\n', '')
    for (const lineEnd of ['\r\n', '\r']) {
      const bytes = Buffer.from(fixture(name).replaceAll('\n', lineEnd))
      assert.equal(scan([bytes]).text, expected)
      for (let cut = 1; cut < bytes.length; cut += 1) {
        const { text, error } = scan([bytes.subarray(0, cut), bytes.subarray(cut)])
        assert.deepEqual([text, error], [expected, null], `cut at ${cut}`)
      }
      assert.equal(scan([...bytes].map((byte) => Buffer.from([byte]))).text, expected)
    }
  })
}

test('characters of several bytes survive a cut inside them', () => {
  const bytes = Buffer.from(canonical(delta('héé 😊 안녕'), finish))
  for (let cut = 1; cut < bytes.length; cut += 1) {
    assert.equal(scan([bytes.subarray(0, cut), bytes.subarray(cut)]).text, bytes.toString())
  }
})

test('one push is one emit with all its whole events, and emitted bytes never change', () => {
  const emitted: Uint8Array[] = []
  const scanner = new SseScanner((events) => emitted.push(events), true)
  const stream = canonical(delta('a'), delta('b'), delta('c'))
  scanner.push(Buffer.from(stream.slice(0, -20)))
  assert.deepEqual(emitted.map(String), [canonical(delta('a'), delta('b'))])
  scanner.push(Buffer.from(stream.slice(-20) + canonical(delta('d'))))
  scanner.push(Buffer.from(canonical(finish)))
  const texts = emitted.map((bytes) => Buffer.from(bytes).toString())
  assert.deepEqual(texts, [
    canonical(delta('a'), delta('b')),
    canonical(delta('c'), delta('d')),
    canonical(finish),
  ])
})

test('the usage chunk is kept from a client that did not ask, and read either way', () => {
  const usage = { prompt_tokens: 1, completion_tokens: 2 }
  const chunk = `{"choices":[],"usage":${JSON.stringify(usage)}}`
  const spaced = `{"choices": [ ], "usage" : ${JSON.stringify(usage)}}`
  for (const event of [chunk, spaced]) {
    const stream = canonical(delta('a'), finish, event, '[DONE]')
    assert.equal(scan([stream], true).text, canonical(delta('a'), finish, event))
    const without = scan([stream], false)
    assert.equal(without.text, canonical(delta('a'), finish))
    assert.deepEqual(without.usage, usage)
  }
})

test('usage that rides on a chunk with choices is forwarded, and the last one counts', () => {
  const riding = (n: number) =>
    `{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"completion_tokens":${n}}}`
  const stream = canonical(riding(1), riding(2), finish, '[DONE]')
  const outcome = scan([stream], false)
  assert.equal(outcome.text, canonical(riding(1), riding(2), finish))
  assert.deepEqual(outcome.usage, { completion_tokens: 2 })
})

test('"usage" and "error" inside generated text mean nothing', () => {
  const text = canonical(
    '{"choices":[{"delta":{"content":"\\"usage\\":{\\"a\\":1} \\"error\\":{}"}}]}',
    '{"choices":[{"delta":{"content":"usage"}}],"usage":null}',
    '{"choices":[{"delta":{"content":"error"}}],"error":null}',
    finish,
  )
  const outcome = scan([text, canonical('[DONE]')], false)
  assert.deepEqual([outcome.text, outcome.usage, outcome.error], [text, null, null])
})

test('other forms of SSE become canonical events', () => {
  const cases: [string, string][] = [
    [`data:${finish}\n\n`, finish],
    [`data:  ${finish} \n\n`, finish],
    [`event: message\nid: 7\nretry: 10\ndata: ${finish}\n\n`, finish],
    [`: comment\ndata: ${finish}\n\n`, finish],
    [`data: {"choices":[{"index":0,"delta":{},\ndata: "finish_reason":"stop"}]}\n\n`, ''],
    [`\n\n\ndata: ${finish}\n\n`, finish],
    [`data\n\ndata:\n\ndata: ${finish}\n\n`, finish],
    [`data: ${finish}\r\n\n`, finish],
  ]
  for (const [stream, json] of cases) {
    const { text, error } = scan([stream])
    assert.equal(error, null, stream)
    if (json !== '') assert.equal(text, canonical(json))
    assert.match(text, /^data: \{[^\n]*\}\n\n$/)
    assert.deepEqual(
      dataOf(text),
      [JSON.parse(finish)].map((event) => event),
    )
  }
})

test('comments that keep a connection alive are dropped', () => {
  const stream = `: OPENROUTER PROCESSING\n\n${canonical(delta('a'))}: ping\n\n${canonical(finish)}`
  assert.equal(scan([stream]).text, canonical(delta('a'), finish))
})

test('an error event ends the stream with the upstream’s own error, after what came before', () => {
  const shapes = [
    '{"error":{"message":"CUDA out of memory","type":"InternalServerError","param":null,"code":500}}',
    // vLLM's older shape
    '{"object":"error","message":"CUDA out of memory","type":"InternalServerError","code":500}',
    // OpenRouter: beside choices
    '{"id":"x","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":500,"message":"CUDA out of memory"}}',
  ]
  for (const shape of shapes) {
    const { text, error } = scan([canonical(delta('a'), shape, delta('b'))])
    assert.equal(text, canonical(delta('a')))
    assert.equal(error?.code, 'upstream_error')
    assert.deepEqual([error.info.status, error.message], [500, 'CUDA out of memory'])
  }
  const named = scan(['event: error\ndata: {"message":"overloaded"}\n\n'])
  assert.deepEqual([named.error?.code, named.error?.message], ['upstream_error', 'overloaded'])
})

test('data that is no JSON object is upstream_invalid_response', () => {
  for (const garbage of ['hello', '[1]', '{"a":1', '"text"', '{"a":1} x']) {
    const { text, error } = scan([canonical(delta('a'), garbage, finish)])
    assert.equal(error?.code, 'upstream_invalid_response', garbage)
    assert.equal(text, canonical(delta('a')))
  }
})

test('an event has a bound, with line ends and without', () => {
  const piece = Buffer.alloc(512 * 1024, 'x')
  const flood = ['data: {"a":"', ...Array.from({ length: 12 }, () => piece)]
  assert.equal(scan(flood).error?.code, 'upstream_invalid_response')
  const lines = Buffer.from(`data: ${'x'.repeat(500_000)}\n`)
  const many = Array.from({ length: 12 }, () => lines)
  assert.equal(scan(many).error?.code, 'upstream_invalid_response')
})

test('a body that ends without [DONE] is whole only after a finish_reason', () => {
  assert.equal(scan([canonical(delta('a'))]).error?.code, 'upstream_cut_off')
  assert.equal(scan([canonical(delta('a'), finish)]).error, null)
  const usage = '{"choices":[],"usage":{"prompt_tokens":1}}'
  assert.equal(scan([canonical(delta('a'), finish, usage)]).error, null)
  assert.equal(scan([]).error?.code, 'upstream_cut_off')
  assert.equal(scan(['']).error?.code, 'upstream_cut_off')
})

test('a last event without its blank line counts if it is whole', () => {
  const cut = scan([`${canonical(delta('a'))}data: ${finish}`])
  assert.deepEqual([cut.text, cut.error], [canonical(delta('a'), finish), null])
  assert.equal(scan([`${canonical(delta('a'))}data: [DONE]`]).done, true)
  assert.equal(scan([`${canonical(delta('a'))}data: [DONE]\n`]).done, true)
  const half = scan([`${canonical(delta('a'))}data: {"choices":[{"finish_rea`])
  assert.equal(half.error?.code, 'upstream_cut_off')
})

test('nothing after [DONE] is looked at', () => {
  const { text, done, error } = scan([canonical(finish, '[DONE]', delta('late')), 'garbage\n\n'])
  assert.deepEqual([text, done, error], [canonical(finish), true, null])
})

test('an empty finish reason ends no answer', () => {
  const piece = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}\n\n'
  assert.equal(scan([piece, piece, piece]).error?.code, 'upstream_cut_off')
})

test('a byte order mark before the first event does not hide it', () => {
  const piece = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
  const bytes = Buffer.from(`\ufeff${piece}data: [DONE]\n\n`)
  assert.equal(scan([bytes]).text, piece)
  assert.equal(scan([...bytes].map((byte) => Uint8Array.of(byte))).text, piece)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { chatCall } from './ollama-chat.ts'
import type { Translate } from './ollama-endpoint.ts'
import { translateStream } from './ollama-stream.ts'
import { failsWith, fixture, inPieces, parseEvents, testCall } from './provider-test-kit.ts'

const user = { messages: [{ role: 'user', content: 'When does water boil?' }] }

function chatTranslator(): Translate {
  const start = chatCall(testCall(user, { stream: true, includeUsage: true })).stream
  assert.ok(start !== null)
  return start()
}

async function translated(body: AsyncIterable<Uint8Array>) {
  const emitted: Uint8Array[] = []
  let failure: unknown = null
  try {
    await translateStream(body, 'llama3.2', chatTranslator(), (events) => emitted.push(events))
  } catch (error) {
    failure = error
  }
  const events = parseEvents(Buffer.concat(emitted))
  const choices = events.flatMap((event) => event.choices as { delta: { content?: string } }[])
  const text = choices.map(({ delta }) => delta.content ?? '').join('')
  return { emitted, events: choices.map(({ delta }) => delta), text, failure }
}

const expectedText = 'Water boils at 100 °C — dépend of 水 🚰\n"quoted" \\ \t.'

test('a stream reads the same wherever its bytes are cut', async () => {
  const bytes = fixture('chat-stream.ndjson')
  const whole = await translated(inPieces(bytes, bytes.length))
  assert.equal(whole.text, expectedText)
  assert.equal(whole.failure, null)
  for (let size = 1; size <= 400; size += 1) {
    const cut = await translated(inPieces(bytes, size))
    assert.deepEqual(cut.events, whole.events, `cut every ${size} bytes`)
    assert.equal(cut.failure, null)
  }
})

test('a stream reads the same for every place of a single cut', async () => {
  const bytes = fixture('chat-stream.ndjson')
  async function* cutAt(at: number) {
    yield bytes.subarray(0, at)
    yield bytes.subarray(at)
  }
  for (let at = 0; at <= bytes.length; at += 1) {
    const { text, failure } = await translated(cutAt(at))
    assert.equal(text, expectedText, `cut at ${at}`)
    assert.equal(failure, null)
  }
})

test('what one read brought is emitted in one piece', async () => {
  const bytes = fixture('chat-stream.ndjson')
  const { emitted } = await translated(inPieces(bytes, bytes.length))
  assert.equal(emitted.length, 1)
})

test('CRLF line ends, empty lines and a missing last newline do no harm', async () => {
  const text = fixture('chat-stream.ndjson').toString('utf8').replaceAll('\n', '\r\n\r\n').trimEnd()
  for (const size of [1, 7, 100_000]) {
    const { text: read, failure } = await translated(inPieces(Buffer.from(text), size))
    assert.equal(read, expectedText)
    assert.equal(failure, null)
  }
})

test('a stream that ends without `done: true` is cut off, wherever it ends', async () => {
  const bytes = fixture('chat-stream.ndjson')
  const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1
  for (const end of [0, 1, 200, lastLine, lastLine + 20, bytes.length - 2]) {
    const { failure } = await translated(inPieces(bytes.subarray(0, end), 64))
    assert.ok(failsWith('upstream_cut_off')(failure), `ended at ${end}`)
  }
})

test('a reported failure ends the stream after the tokens before it', async () => {
  const bytes = fixture('chat-stream-error.ndjson')
  for (const size of [1, 50, bytes.length]) {
    const { text, failure } = await translated(inPieces(bytes, size))
    assert.equal(text, 'Ebb and')
    assert.ok(failsWith('upstream_error')(failure))
    assert.match(String(failure), /an error was encountered while running the model/)
  }
})

test('a failure reported in the first line leaves nothing emitted', async () => {
  const line = '{"error":"llama runner process has terminated"}\n'
  const { emitted, failure } = await translated(inPieces(Buffer.from(line), 10))
  assert.deepEqual(emitted, [])
  assert.ok(failsWith('upstream_error')(failure))
})

for (const [what, line] of [
  ['no JSON', '<html>502 Bad Gateway</html>'],
  ['an array', '[1]'],
  ['null', 'null'],
  ['a line without a message', '{"status":"pulling manifest"}'],
  ['content that is not text', '{"message":{"role":"assistant","content":5},"done":false}'],
  ['tool calls without a name', '{"message":{"content":"","tool_calls":[{}]},"done":false}'],
] as const) {
  test(`${what} in a stream is an invalid response`, async () => {
    const good = '{"message":{"role":"assistant","content":"ok"},"done":false}\n'
    const { text, failure } = await translated(inPieces(Buffer.from(`${good}${line}\n`), 1000))
    assert.equal(text, 'ok')
    assert.ok(failsWith('upstream_invalid_response')(failure))
  })
}

test('a line without an end is given up, not collected for ever', async () => {
  async function* endless() {
    const chunk = Buffer.alloc(1024 * 1024, 0x20)
    for (let count = 0; count < 100; count += 1) yield chunk
    assert.fail('read 100 MB of one line')
  }
  const { failure } = await translated(endless())
  assert.ok(failsWith('upstream_invalid_response')(failure))
})

test('a connection that breaks after `done: true` spoils nothing', async () => {
  async function* broken() {
    yield fixture('chat-stream.ndjson')
    throw new PenstockError('upstream_cut_off', 'reset')
  }
  const { text, failure } = await translated(broken())
  assert.equal(text, expectedText)
  assert.equal(failure, null)
})

test('a connection that breaks before it is passed on as it is', async () => {
  const reason = new Error('aborted')
  async function* broken() {
    yield fixture('chat-stream.ndjson').subarray(0, 300)
    throw reason
  }
  const { failure } = await translated(broken())
  assert.equal(failure, reason)
})

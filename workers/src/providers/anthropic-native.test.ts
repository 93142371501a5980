// Anthropic's documented streams passed through: the same bytes, wherever they are cut.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutAnywhere, seeded } from '@penstock/shared/fixtures/seeded'
import { NativeScan, passAnthropic } from './anthropic-native.ts'
import { nativeRequest } from './anthropic-request.ts'
import { failsWith, fixture, inPieces, testCall } from './provider-test-kit.ts'

const file = (name: string) => fixture(`../anthropic/${name}`)

async function pass(body: AsyncIterable<Uint8Array>) {
  const emitted: Uint8Array[] = []
  const call = testCall({}, { stream: true, emit: (events) => void emitted.push(events) })
  let failure: unknown = null
  const usage = await passAnthropic(call, body).catch((error: unknown) => {
    failure = error
    return null
  })
  return { bytes: Buffer.concat(emitted), emits: emitted.length, usage, failure }
}

const sse = (...events: Record<string, unknown>[]) =>
  Buffer.from(events.map((it) => `event: ${it.type}\ndata: ${JSON.stringify(it)}\n\n`).join(''))
const start = { type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 7 } } }
const block = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
const delta = (text: string) => ({
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text },
})
const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
const whole = 1_000_000

for (const name of ['stream.sse', 'stream-tools.sse', 'stream-thinking.sse']) {
  test(`${name} keeps its bytes at any cut, with LF and with CR LF`, async () => {
    const lines = file(name)
    const carriage = Buffer.from(lines.toString().replaceAll('\n', '\r\n'))
    for (const bytes of [lines, carriage]) {
      for (const size of [1, 7, whole]) {
        const { bytes: passed, failure } = await pass(inPieces(bytes, size))
        assert.equal(failure, null)
        assert.equal(passed.toString().trimEnd(), bytes.toString().trimEnd(), `by ${size} bytes`)
      }
    }
  })
}

test('the counts are those of message_start and the last message_delta', async () => {
  const { usage } = await pass(inPieces(file('stream-tools.sse'), 5))
  assert.partialDeepStrictEqual(usage, { promptTokens: 472, completionTokens: 89 })
})

test('writes for an hour are told in message_start alone', async () => {
  const usage = {
    input_tokens: 3,
    output_tokens: 1,
    cache_creation_input_tokens: 9,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 9 },
    service_tier: 'priority',
  }
  const end = { type: 'message_delta', delta: {}, usage: { output_tokens: 4 } }
  const message = { id: 'msg_1', usage }
  const bytes = sse({ ...start, message }, block, end, { type: 'message_stop' })
  assert.partialDeepStrictEqual((await pass(inPieces(bytes, whole))).usage, {
    promptTokens: 12,
    completionTokens: 4,
    cacheWriteTokens: 9,
    cacheWrite1hTokens: 9,
    rate: 'priority',
  })
})

test('no token is parsed', (t) => {
  const parse = t.mock.method(JSON, 'parse')
  const pieces = Array.from({ length: 500 }, (_, index) => delta(`token ${index}`))
  const end = [{ type: 'message_delta', delta: {}, usage: {} }, { type: 'message_stop' }]
  const bytes = sse(start, block, ...pieces, ...end)
  const scan = new NativeScan(() => {})
  for (const piece of cutAnywhere(seeded(1), bytes, 300)) scan.push(piece)
  assert.ok(scan.done)
  assert.equal(parse.mock.callCount(), 3)
})

test('an error before the first block leaves nothing written, so that it keeps its status', async () => {
  const { bytes, failure } = await pass(inPieces(sse(start, { type: 'ping' }, overloaded), whole))
  assert.equal(bytes.length, 0)
  assert.ok(failsWith('upstream_error')(failure))
})

test('what came before an error or a cut reaches the client', async () => {
  const begun = sse(start, block, delta('hello'))
  const failed = await pass(inPieces(Buffer.concat([begun, sse(overloaded)]), whole))
  assert.deepEqual(failed.bytes, begun)
  assert.ok(failsWith('upstream_error')(failed.failure))
  const cut = await pass(inPieces(begun, 3))
  assert.deepEqual(cut.bytes, begun)
  assert.ok(failsWith('upstream_cut_off')(cut.failure))
})

test('an event without end is refused at its bound', async () => {
  async function* endless() {
    for (let i = 0; i < 10; i += 1) yield Buffer.alloc(1024 * 1024, 'x')
  }
  assert.ok(failsWith('upstream_invalid_response')((await pass(endless())).failure))
})

test('a request keeps all fields but the model and what is for the gateway', () => {
  const body = {
    model: 'alias',
    messages: [{ role: 'user', content: 'hi' }],
    system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral', ttl: '1h' } }],
    some_beta_field: { a: 1 },
    metadata: { user_id: 'u', tags: ['t'], session_id: 's' },
    priority: 5,
  }
  const native = {
    dialect: 'messages' as const,
    headers: { 'anthropic-beta': 'b-2', 'anthropic-version': '2023-06-01' },
  }
  const defaults = { temperature: 0.2, user: 'nobody', max_tokens: 9 }
  const deployment = {
    ...testCall({}).deployment,
    apiBase: 'https://api.anthropic.com',
    apiKey: 'k',
    defaults,
    extraHeaders: { 'Anthropic-Beta': 'b-1' },
  }
  const call = testCall({ ...body, max_tokens: 3 }, { model: 'claude-x', stream: true, deployment })
  const { url, headers, body: sent } = nativeRequest(call, native)
  assert.equal(url, 'https://api.anthropic.com/v1/messages')
  assert.partialDeepStrictEqual(headers, { 'x-api-key': 'k', 'anthropic-beta': 'b-1,b-2' })
  const { priority: _queue, ...kept } = body
  assert.deepEqual(JSON.parse(String(sent)), {
    ...kept,
    temperature: 0.2,
    max_tokens: 3,
    metadata: { user_id: 'u' },
    model: 'claude-x',
    stream: true,
  })
})

// Anthropic's documented streams as OpenAI's, cut anywhere.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import { translateAnthropic } from './anthropic-stream.ts'
import { failsWith, fixture, inPieces, parseEvents, testCall } from './provider-test-kit.ts'

const model = 'claude-sonnet-4-5'
const file = (name: string) => fixture(`../anthropic/${name}`)

interface Choice {
  delta: Record<string, unknown>
  finish_reason: string | null
}

/** What a stream is translated into; `created` is made comparable. */
async function translated(body: AsyncIterable<Uint8Array>, includeUsage = true) {
  const emitted: Uint8Array[] = []
  const emit = (events: Uint8Array) => void emitted.push(events)
  const call = testCall({}, { stream: true, includeUsage, model, emit })
  let failure: unknown = null
  const usage = await translateAnthropic(call, body).catch((error: unknown) => {
    failure = error
    return null
  })
  const events = parseEvents(Buffer.concat(emitted)).map((event) => ({ ...event, created: 0 }))
  const choices = events.flatMap((event) => (event as unknown as { choices: Choice[] }).choices)
  return { events, choices, usage, failure, emits: emitted.length }
}

const whole = (name: string) => translated(inPieces(file(name), 1_000_000))
const sse = (...events: Record<string, unknown>[]) =>
  inPieces(
    Buffer.from(events.map((it) => `event: ${it.type}\ndata: ${JSON.stringify(it)}\n\n`).join('')),
    1_000_000,
  )

const start = { type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 7 } } }
const block = (content_block: object, index = 0) => ({
  type: 'content_block_start',
  index,
  content_block,
})
const delta = (more: object, index = 0) => ({ type: 'content_block_delta', index, delta: more })
const stop = (index = 0) => ({ type: 'content_block_stop', index })
const ending = (stop_reason: string, usage: object = {}) => [
  { type: 'message_delta', delta: { stop_reason }, usage },
  { type: 'message_stop' },
]

test('a stream begins with the role, ends with its reason and all of its usage', async () => {
  const { events, choices, usage, emits } = await whole('stream.sse')
  assert.equal(emits, 1)
  assert.ok(events.every((event) => (event as { id?: string }).id?.startsWith('msg_1nZdL29')))
  assert.deepEqual(
    choices.map(({ delta: it, finish_reason: reason }) => [it, reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{ content: 'Hello' }, null],
      [{ content: '!' }, null],
      [{}, 'stop'],
    ],
  )
  assert.deepEqual((events.at(-1) as { usage?: unknown }).usage, {
    prompt_tokens: 25,
    completion_tokens: 15,
    total_tokens: 40,
    prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  })
  assert.deepEqual(usage, { ...noUsage, promptTokens: 25, completionTokens: 15 })
  const unasked = await translated(inPieces(file('stream.sse'), 100), false)
  assert.ok(unasked.events.every((event) => !('usage' in event)))
  assert.deepEqual(unasked.usage, usage)
})

test('streamed arguments go on piece by piece under one id', async () => {
  const { choices } = await whole('stream-tools.sse')
  const calls = choices.flatMap(
    ({ delta: it }) => (it.tool_calls ?? []) as Record<string, unknown>[],
  )
  assert.deepEqual(calls[0], {
    index: 0,
    id: 'toolu_01T1x1fJ34qAmk2tNTrN7Up6',
    type: 'function',
    function: { name: 'get_weather', arguments: '' },
  })
  assert.ok(calls.slice(1).every((it) => it.index === 0 && !('id' in it)))
  const pieces = calls.map((it) => (it.function as { arguments: string }).arguments)
  assert.deepEqual(JSON.parse(pieces.join('')), {
    location: 'San Francisco, CA',
    unit: 'fahrenheit',
  })
  const text = choices.map(({ delta: it }) => it.content ?? '').join('')
  assert.equal(text, "Okay, let's check the weather for San Francisco, CA:")
  assert.equal(choices.at(-1)?.finish_reason, 'tool_calls')
})

test('thinking streams as reasoning_content, and its signed block follows whole', async () => {
  const { choices, usage } = await whole('stream-thinking.sse')
  const reasoning = choices.map(({ delta: it }) => it.reasoning_content ?? '').join('')
  assert.match(reasoning, /^Let me solve this step by step:.*12,231$/s)
  const blocks = choices.flatMap(({ delta: it }) => it.thinking_blocks ?? [])
  const signature = 'EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds...'
  assert.deepEqual(blocks, [{ type: 'thinking', thinking: reasoning, signature }])
  assert.equal(usage, null)
})

for (const name of ['stream.sse', 'stream-tools.sse', 'stream-thinking.sse']) {
  test(`${name} reads the same wherever its bytes are cut`, async () => {
    const bytes = file(name)
    const expected = (await whole(name)).events
    for (const size of [1, 2, 3, 7, 64, 1000]) {
      const { events, failure } = await translated(inPieces(bytes, size))
      assert.deepEqual([events, failure], [expected, null], `cut every ${size} bytes`)
    }
    async function* cutAt(at: number) {
      yield bytes.subarray(0, at)
      yield bytes.subarray(at)
    }
    for (let at = 0; at <= bytes.length; at += 5) {
      assert.deepEqual((await translated(cutAt(at))).events, expected, `cut at ${at}`)
    }
    const crlf = Buffer.from(bytes.toString().replaceAll('\n', '\r\n'))
    assert.deepEqual((await translated(inPieces(crlf, 1))).events, expected)
  })
}

test('parallel calls count on; a call without pieces has the input that it began with', async () => {
  const tool = (id: string, input: object) => ({ type: 'tool_use', id, name: 'f', input })
  const body = sse(
    start,
    block(tool('a', {}), 0),
    block(tool('b', { x: 'é' }), 1),
    delta({ type: 'input_json_delta', partial_json: '{"y":1}' }, 0),
    stop(0),
    stop(1),
    block(tool('c', {}), 2),
    delta({ type: 'input_json_delta', partial_json: '' }, 2),
    stop(2),
    ...ending('tool_use'),
  )
  const { choices } = await translated(body)
  const calls = choices.flatMap(
    ({ delta: it }) => (it.tool_calls ?? []) as Record<string, unknown>[],
  )
  const joined = [0, 1, 2].map((index) => {
    const own = calls.filter((it) => it.index === index)
    return own.map((it) => (it.function as { arguments: string }).arguments).join('')
  })
  assert.deepEqual(joined, ['{"y":1}', '{"x":"é"}', '{}'])
})

test('a JSON tool streams as the answer, redacted thinking as a block', async () => {
  const body = sse(
    start,
    block({ type: 'redacted_thinking', data: 'd' }),
    stop(),
    block({ type: 'tool_use', id: 'a', name: 'json_tool_call', input: {} }, 1),
    delta({ type: 'input_json_delta', partial_json: '{"a":' }, 1),
    delta({ type: 'input_json_delta', partial_json: '1}' }, 1),
    stop(1),
    ...ending('tool_use', { output_tokens: 3, cache_read_input_tokens: 5 }),
  )
  const { choices, usage } = await translated(body)
  assert.deepEqual(
    choices.map(({ delta: it, finish_reason: reason }) => [it, reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{ thinking_blocks: [{ type: 'redacted_thinking', data: 'd' }] }, null],
      [{ content: '{"a":' }, null],
      [{ content: '1}' }, null],
      [{}, 'stop'],
    ],
  )
  assert.deepEqual([usage?.promptTokens, usage?.cachedPromptTokens], [12, 5])
})

test('unknown events, blocks and deltas change nothing', async () => {
  const { choices, failure } = await translated(
    sse(
      start,
      { type: 'ping' },
      { type: 'news' },
      block({ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }),
      delta({ type: 'input_json_delta', partial_json: '{"q":1}' }),
      delta({ type: 'citations_delta', citation: {} }),
      stop(),
      ...ending('refusal'),
    ),
  )
  assert.equal(failure, null)
  assert.deepEqual(
    choices.map(({ finish_reason: reason }) => reason),
    [null, 'content_filter'],
  )
})

test('a stream without its message_stop is cut off, wherever it ends', async () => {
  const bytes = file('stream.sse')
  for (const end of [0, 10, 400, 700, bytes.length - 2]) {
    const { failure, choices } = await translated(inPieces(bytes.subarray(0, end), 64))
    assert.ok(failsWith('upstream_cut_off')(failure), `ended at ${end}`)
    assert.ok(choices.every(({ finish_reason: reason }) => reason === null))
  }
})

test('an error event ends the stream with its own error, after the text before it', async () => {
  const error = { type: 'overloaded_error', message: 'Overloaded' }
  const body = sse(start, delta({ type: 'text_delta', text: 'Hi' }), { type: 'error', error })
  const { choices, failure } = await translated(body)
  assert.deepEqual(choices.at(-1)?.delta, { content: 'Hi' })
  assert.ok(failure instanceof PenstockError)
  assert.deepEqual([failure.code, failure.info.status], ['upstream_error', 529])
  const first = await translated(sse({ type: 'error', error: { type: 'rate_limit_error' } }))
  assert.deepEqual(first.events, [])
  assert.ok(failsWith('upstream_rate_limited')(first.failure))
})

test('what is not of Anthropic’s form is an invalid response', async () => {
  const cases = [
    'event: x\ndata: <html>\n\n',
    'data: [1]\n\n',
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"early"}}\n\n',
    `data: ${JSON.stringify(start)}\n\ndata: {"type":"content_block_start"}\n\n`,
    `data: ${'x'.repeat(5 * 1024 * 1024)}`,
  ]
  for (const text of cases) {
    const { failure } = await translated(inPieces(Buffer.from(text), 1024 * 1024))
    assert.ok(failsWith('upstream_invalid_response')(failure), text.slice(0, 80))
  }
})

test('a reader that leaves is passed on as it is', async () => {
  const reason = new Error('the client left')
  async function* broken() {
    yield file('stream.sse').subarray(0, 300)
    throw reason
  }
  assert.equal((await translated(broken())).failure, reason)
})

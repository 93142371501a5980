// The OpenAI-compatible provider against a server that replays the documented wire examples: what
// becomes of its replies and streams. What it is sent: openai-request.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { openai, textCompletionOpenai } from './openai.ts'
import { failsWith } from './provider-test-kit.ts'
import {
  type CallOptions,
  fixturesOf,
  json,
  runCall,
  sse,
  upstreamForTests,
} from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

const fixture = fixturesOf('openai')
const messages = [{ role: 'user', content: 'Hello!' }]

function run(body: Record<string, unknown>, options: CallOptions = {}, entry = openai) {
  const deployment = { apiBase: `${upstream.origin}/v1`, ...options.deployment }
  return runCall(entry.provider, body, { model: 'gpt-4o', ...options, deployment })
}

test('a reply goes through in its own bytes, and its usage is read', async () => {
  const cases = [
    ['chat', 'chat-reply.json', 19, 10],
    ['chat', 'chat-tools-reply.json', 82, 17],
    ['chat', 'vllm-reply.json', 14, 35],
    ['completion', 'completion-reply.json', 5, 7],
    ['embedding', 'embedding-reply.json', 8, 0],
  ] as const
  for (const [operation, name, promptTokens, completionTokens] of cases) {
    upstream.answer(json(fixture(name)))
    const { body, usage } = await run({ messages }, { operation })
    assert.equal(Buffer.from(body ?? []).toString(), fixture(name))
    assert.deepEqual(
      [usage?.promptTokens, usage?.completionTokens],
      [promptTokens, completionTokens],
    )
  }
  const paths = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings']
  assert.deepEqual([...new Set(upstream.received.map(({ url }) => url))], paths)
})

test('a stream goes through in its own bytes, without [DONE]', async () => {
  const cases = [
    ['chat', 'chat-stream.sse', 19, 10],
    ['chat', 'chat-tools-stream.sse', 57, 17],
    ['completion', 'completion-stream.sse', 5, 7],
  ] as const
  for (const [operation, name, promptTokens, completionTokens] of cases) {
    upstream.answer(sse(fixture(name)))
    const all = fixture(name).replace('data: [DONE]\n\n', '')
    const asked = await run({ messages }, { operation, stream: true, includeUsage: true })
    assert.equal(asked.text, all)
    assert.equal(asked.body, null)
    assert.deepEqual(
      [asked.usage?.promptTokens, asked.usage?.completionTokens],
      [promptTokens, completionTokens],
    )
    const unasked = await run({ messages }, { operation, stream: true })
    assert.equal(unasked.text, all.slice(0, all.trimEnd().lastIndexOf('\n\n') + 2))
    assert.deepEqual(unasked.usage, asked.usage)
  }
})

test('the tier that served is read from whole and from streamed answers', async () => {
  const reply = fixture('chat-reply.json').replace(
    '"service_tier": "default"',
    '"service_tier": "flex"',
  )
  upstream.answer(json(reply))
  assert.equal((await run({ messages })).usage?.rate, 'flex')
  // The chunk object has the field, too.
  const chunks = fixture('chat-stream.sse').replaceAll(
    '"object"',
    '"service_tier":"priority","object"',
  )
  upstream.answer(sse(chunks))
  const { usage } = await run({ messages }, { stream: true })
  assert.deepEqual([usage?.rate, usage?.completionTokens], ['priority', 10])
})

test('error replies become Penstock’s errors', async () => {
  for (const name of ['vllm-context-error.json', 'llama-cpp-context-error.json']) {
    upstream.answer(json(fixture(name), 400))
    await assert.rejects(run({ messages }, { stream: true }), failsWith('context_window_exceeded'))
  }
  upstream.answer(json('{"error":{"message":"bad n","param":"n"}}', 400))
  await assert.rejects(run({ messages }), failsWith('upstream_bad_request', 'n'))
  upstream.answer(json('{"error":{"message":"overloaded","code":503}}', 503))
  await assert.rejects(run({ messages }), (error) => {
    assert.ok(error instanceof PenstockError)
    assert.deepEqual([error.info.status, error.message], [503, 'overloaded'])
    return true
  })
})

test('what is no answer of the right shape is upstream_invalid_response', async () => {
  const invalid = failsWith('upstream_invalid_response')
  for (const text of ['not json', '{}', '[]', 'null', '{"choices":[]}', '{"choices":[1]}']) {
    upstream.answer(json(text))
    await assert.rejects(run({ messages }), invalid)
    await assert.rejects(run({ messages }, { stream: true }), invalid)
  }
  upstream.answer(json('{"choices":[{}]}'))
  await assert.rejects(run({}, { operation: 'embedding' }), invalid)
  upstream.answer(json('<html>hello</html>', 200, { 'content-type': 'text/html' }))
  await assert.rejects(run({ messages }), invalid)
  await assert.rejects(run({ messages }, { stream: true }), invalid)
})

test('a whole reply to a request for a stream is known by its first byte, whatever its type', async () => {
  for (const type of ['text/event-stream', 'text/plain']) {
    const error = '{"error":{"message":"too long","code":"context_length_exceeded"}}'
    upstream.answer(json(`\n${error}\n\n`, 200, { 'content-type': type }))
    const call = run({ messages }, { stream: true })
    await assert.rejects(call, failsWith('context_window_exceeded'))
    upstream.answer(json(fixture('chat-reply.json'), 200, { 'content-type': type }))
    const { text, usage } = await run({ messages }, { stream: true })
    assert.match(text, /^data: \{.*"delta":\{/)
    assert.equal(usage?.promptTokens, 19)
  }
})

test('an error with status 200 is an error', async () => {
  upstream.answer(json('{"error":{"message":"no capacity","code":429}}'))
  await assert.rejects(run({ messages }), failsWith('upstream_rate_limited'))
  await assert.rejects(run({ messages }, { stream: true }), failsWith('upstream_rate_limited'))
})

test('a whole reply to a streaming request becomes chunks', async () => {
  for (const name of ['chat-reply.json', 'chat-tools-reply.json']) {
    upstream.answer(json(fixture(name)))
    const reply = JSON.parse(fixture(name))
    const { text, usage } = await run({ messages }, { stream: true, includeUsage: true })
    const [chunk, last] = text
      .trim()
      .split('\n\n')
      .map((event) => JSON.parse(event.slice(6)))
    assert.equal(chunk.object, 'chat.completion.chunk')
    assert.equal(chunk.choices[0].delta.content, reply.choices[0].message.content)
    assert.equal(chunk.choices[0].finish_reason, reply.choices[0].finish_reason)
    const calls = reply.choices[0].message.tool_calls
    const indexed = calls?.map((call: object, index: number) => ({ index, ...call }))
    assert.deepEqual(chunk.choices[0].delta.tool_calls, indexed)
    assert.deepEqual([last.choices, last.usage], [[], reply.usage])
    assert.equal(usage?.promptTokens, reply.usage.prompt_tokens)
  }
  upstream.answer(json(fixture('completion-reply.json')))
  const { text } = await run({ prompt: 'x' }, { operation: 'completion', stream: true })
  const [chunk] = text
    .trim()
    .split('\n\n')
    .map((event) => JSON.parse(event.slice(6)))
  assert.deepEqual(
    [chunk.object, chunk.choices[0].text],
    ['text_completion', '\n\nThis is indeed a test'],
  )
})

test('a stream is over at [DONE], and its connection serves again', async () => {
  const ending = Promise.withResolvers<void>()
  const connections: unknown[] = []
  upstream.answer((response) => {
    connections.push(response.socket)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(fixture('chat-stream.sse'))
    void ending.promise.then(() => response.end())
  })
  const { usage } = await run({ messages }, { stream: true })
  assert.equal(usage?.promptTokens, 19)
  ending.resolve()
  const reply = json(fixture('chat-reply.json'))
  upstream.answer((response) => {
    connections.push(response.socket)
    reply(response)
  })
  // The end of the body arrives in its own time; until then calls open further connections.
  let tries = 0
  do {
    tries += 1
    assert.ok(tries < 1_000, 'the connection was never used again')
    await run({ messages })
  } while (connections.at(-1) !== connections[0])
})

test('text-completion-openai serves completions and nothing else', async () => {
  upstream.answer(json(fixture('completion-reply.json')))
  const body = { prompt: 'def f(', suffix: 'return x' }
  await run(body, { operation: 'completion' }, textCompletionOpenai)
  assert.deepEqual(upstream.received[0]?.body, { ...body, model: 'gpt-4o' })
  const chat = run({ messages }, {}, textCompletionOpenai)
  await assert.rejects(chat, failsWith('unsupported_parameter'))
})

// The OpenAI-compatible provider against a server that replays the documented wire examples.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, beforeEach, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { closeHttp } from './http.ts'
import { failsWith, testCall } from './ollama-test-kit.ts'
import { openai, textCompletionOpenai, vllm } from './openai.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>
interface Received {
  url: string | undefined
  headers: http.IncomingHttpHeaders
  body: Record<string, unknown>
  connection: unknown
}

const received: Received[] = []
let answer: (response: http.ServerResponse) => void = (response) => response.end()
const server = http.createServer(async (request, response) => {
  const body = JSON.parse(Buffer.concat(await request.toArray()).toString())
  const { url, headers, socket } = request
  received.push({ url, headers, body, connection: socket })
  answer(response)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const apiBase = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
after(async () => {
  await closeHttp()
  server.close()
})
beforeEach(() => {
  received.length = 0
})

const fixture = (name: string) =>
  readFileSync(new URL(`fixtures/openai/${name}`, import.meta.url), 'utf8')
const asJson = (text: string, status = 200, type = 'application/json') => {
  answer = (response) => response.writeHead(status, { 'content-type': type }).end(text)
}
const asStream = (text: string) => asJson(text, 200, 'text/event-stream; charset=utf-8')

async function run(body: Record<string, unknown>, options: CallOptions = {}, entry = openai) {
  const emitted: Uint8Array[] = []
  const call = testCall(body, {
    model: 'gpt-4o',
    emit: (events) => void emitted.push(events),
    ...options,
    deployment: { apiBase, ...options.deployment },
  })
  const result = await entry.provider.run(call)
  return { ...result, text: Buffer.concat(emitted).toString() }
}

const messages = [{ role: 'user', content: 'Hello!' }]

test('a reply goes through in its own bytes, and its usage is read', async () => {
  const cases = [
    ['chat', 'chat-reply.json', 19, 10],
    ['chat', 'chat-tools-reply.json', 82, 17],
    ['chat', 'vllm-reply.json', 14, 35],
    ['completion', 'completion-reply.json', 5, 7],
    ['embedding', 'embedding-reply.json', 8, 0],
  ] as const
  for (const [operation, name, promptTokens, completionTokens] of cases) {
    asJson(fixture(name))
    const { body, usage } = await run({ messages }, { operation })
    assert.equal(Buffer.from(body ?? []).toString(), fixture(name))
    assert.deepEqual(
      [usage?.promptTokens, usage?.completionTokens],
      [promptTokens, completionTokens],
    )
  }
  const paths = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings']
  assert.deepEqual([...new Set(received.map(({ url }) => url))], paths)
})

test('a stream goes through in its own bytes, without [DONE]', async () => {
  const cases = [
    ['chat', 'chat-stream.sse', 19, 10],
    ['chat', 'chat-tools-stream.sse', 57, 17],
    ['completion', 'completion-stream.sse', 5, 7],
  ] as const
  for (const [operation, name, promptTokens, completionTokens] of cases) {
    asStream(fixture(name))
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

test('the client’s fields are kept, the model is the upstream’s, usage is always asked for', async () => {
  asJson(fixture('chat-reply.json'))
  const body = { model: 'smart', messages, temperature: 0.3, never_heard_of: { a: [1] } }
  await run(body)
  assert.deepEqual(received[0]?.body, { ...body, model: 'gpt-4o' })
  asStream(fixture('chat-stream.sse'))
  const options = { stream_options: { continuous_usage_stats: true } }
  await run({ ...body, ...options }, { stream: true })
  assert.deepEqual(received[1]?.body, {
    ...body,
    model: 'gpt-4o',
    stream: true,
    stream_options: { continuous_usage_stats: true, include_usage: true },
  })
})

test('extra_body is lifted out and additional_drop_params are dropped', async () => {
  asJson(fixture('chat-reply.json'))
  const body = { messages, user: 'u', seed: 7, extra_body: { guided_json: { type: 'object' } } }
  await run(body, { deployment: { additionalDropParams: ['user', 'seed'] } })
  const sent = { model: 'gpt-4o', messages, guided_json: { type: 'object' } }
  assert.deepEqual(received[0]?.body, sent)
})

test('a model that refuses max_tokens gets it by its newer name', async () => {
  asJson(fixture('chat-reply.json'))
  const sent = async (model: string, body: object, baseModel: string | null = null) => {
    await run({ messages, ...body }, { model, deployment: { baseModel } })
    const { model: _, messages: __, ...rest } = received.at(-1)?.body ?? {}
    return rest
  }
  const newer = { max_completion_tokens: 5 }
  assert.deepEqual(await sent('o3-mini', { max_tokens: 5 }), newer)
  assert.deepEqual(await sent('ours', { max_tokens: 5 }, 'gpt-5-mini'), newer)
  assert.deepEqual(await sent('gpt-5', { max_tokens: 9, ...newer }), newer)
  assert.deepEqual(await sent('gpt-4o', { max_tokens: 5 }), { max_tokens: 5 })
})

test('a call that does not stream never asks for a stream', async () => {
  asJson(fixture('chat-reply.json'))
  const streaming = { stream: true, stream_options: { include_usage: true } }
  for (const body of [streaming, { extra_body: streaming }]) {
    const { usage } = await run({ messages, ...body })
    assert.equal(usage?.promptTokens, 19)
    assert.deepEqual(received.at(-1)?.body, { model: 'gpt-4o', messages })
  }
})

test('OpenAI gets nothing of what was meant for the gateway', async () => {
  asJson(fixture('chat-reply.json'))
  const own = { tags: ['t'], data: 'local', session_id: 's', trace: { id: 1 } }
  const sent = async (body: Record<string, unknown>, options?: CallOptions, entry = openai) => {
    await run({ messages, ...body }, options, entry)
    const { model: _, messages: __, ...rest } = received.at(-1)?.body ?? {}
    return rest
  }
  const tier = { service_tier: 'flex' }
  assert.deepEqual(await sent({ ...tier, priority: 3, metadata: own }), tier)
  const kept = await sent({ metadata: { ...own, order: '7' } })
  assert.deepEqual(kept, { metadata: { order: '7' } })
  const meant = { priority: 3, metadata: { a: 'b' } }
  assert.deepEqual(await sent({ extra_body: meant }), meant)
  // A vLLM takes any metadata, but a priority only where it is started for it.
  assert.deepEqual(await sent({ priority: 3, metadata: own }, {}, vllm), { metadata: own })
  assert.deepEqual(await sent({ extra_body: { priority: 3 } }, {}, vllm), { priority: 3 })
  asJson(fixture('embedding-reply.json'))
  const embedding = { operation: 'embedding' } as const
  assert.deepEqual(await sent({ metadata: { a: 'b' } }, embedding), {})
})

test('headers: the key if there is one, the organization, and the configured ones on top', async () => {
  asJson(fixture('chat-reply.json'))
  await run({ messages })
  assert.equal(received[0]?.headers.authorization, undefined)
  await run({ messages }, { deployment: { apiKey: 'sk-1', organization: 'org-1' } })
  assert.equal(received[1]?.headers.authorization, 'Bearer sk-1')
  assert.equal(received[1]?.headers['openai-organization'], 'org-1')
  const extraHeaders = { Authorization: 'Basic x', 'X-Team': 'a' }
  await run({ messages }, { deployment: { apiKey: 'sk-1', extraHeaders } })
  assert.equal(received[2]?.headers.authorization, 'Basic x')
  assert.equal(received[2]?.headers['x-team'], 'a')
})

test('error replies become Penstock’s errors', async () => {
  for (const name of ['vllm-context-error.json', 'llama-cpp-context-error.json']) {
    asJson(fixture(name), 400)
    await assert.rejects(run({ messages }, { stream: true }), failsWith('context_window_exceeded'))
  }
  asJson('{"error":{"message":"bad n","param":"n"}}', 400)
  await assert.rejects(run({ messages }), failsWith('upstream_bad_request', 'n'))
  asJson('{"error":{"message":"overloaded","code":503}}', 503)
  await assert.rejects(run({ messages }), (error) => {
    assert.ok(error instanceof PenstockError)
    assert.deepEqual([error.info.status, error.message], [503, 'overloaded'])
    return true
  })
})

test('what is no answer of the right shape is upstream_invalid_response', async () => {
  const invalid = failsWith('upstream_invalid_response')
  for (const text of ['not json', '{}', '[]', 'null', '{"choices":[]}', '{"choices":[1]}']) {
    asJson(text)
    await assert.rejects(run({ messages }), invalid)
    await assert.rejects(run({ messages }, { stream: true }), invalid)
  }
  asJson('{"choices":[{}]}')
  await assert.rejects(run({}, { operation: 'embedding' }), invalid)
  asJson('<html>hello</html>', 200, 'text/html')
  await assert.rejects(run({ messages }), invalid)
  await assert.rejects(run({ messages }, { stream: true }), invalid)
})

test('an error with status 200 is an error', async () => {
  asJson('{"error":{"message":"no capacity","code":429}}')
  await assert.rejects(run({ messages }), failsWith('upstream_rate_limited'))
  await assert.rejects(run({ messages }, { stream: true }), failsWith('upstream_rate_limited'))
})

test('a whole reply to a streaming request becomes chunks', async () => {
  for (const name of ['chat-reply.json', 'chat-tools-reply.json']) {
    asJson(fixture(name))
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
  asJson(fixture('completion-reply.json'))
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
  answer = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(fixture('chat-stream.sse'))
    void ending.promise.then(() => response.end())
  }
  const { usage } = await run({ messages }, { stream: true })
  assert.equal(usage?.promptTokens, 19)
  const [first] = received
  ending.resolve()
  const again = async () => {
    asJson(fixture('chat-reply.json'))
    await run({ messages })
    return received.at(-1)?.connection
  }
  // The end of the body arrives in its own time; until then calls open further connections.
  let tries = 0
  while ((await again()) !== first?.connection) {
    tries += 1
    assert.ok(tries < 1_000, 'the connection was never used again')
  }
})

test('text-completion-openai serves completions and nothing else', async () => {
  asJson(fixture('completion-reply.json'))
  const body = { prompt: 'def f(', suffix: 'return x' }
  await run(body, { operation: 'completion' }, textCompletionOpenai)
  assert.deepEqual(received[0]?.body, { ...body, model: 'gpt-4o' })
  const chat = run({ messages }, {}, textCompletionOpenai)
  await assert.rejects(chat, failsWith('unsupported_parameter'))
})

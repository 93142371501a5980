import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import type { Deployment } from '@penstock/shared/config/deployment'
import { closeHttp } from './http.ts'
import { ollama } from './ollama.ts'
import type { ProviderCall } from './provider.ts'
import { failsWith, fixture, parseEvents, testCall } from './provider-test-kit.ts'

const messages = [{ role: 'user', content: 'Hello' }]

interface Seen {
  url: string
  headers: IncomingMessage['headers']
  body: unknown
}

/** A server that answers every request by `answer`; `seen` are the requests. */
async function upstream(answer: (response: ServerResponse) => void) {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    seen.push({ url: request.url ?? '', headers: request.headers, body })
    answer(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

after(closeHttp)

function run(
  apiBase: string,
  options: Partial<Omit<ProviderCall, 'deployment'>> & { deployment?: Partial<Deployment> } = {},
) {
  const call = testCall(options.body ?? { messages }, options)
  return ollama.provider.run({ ...call, deployment: { ...call.deployment, apiBase } })
}

function replyWith(name: string) {
  return (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' })
    response.end(JSON.stringify(JSON.parse(fixture(name).toString('utf8'))))
  }
}

test('both prefixes and every operation reach their endpoint, under any api_base', async () => {
  assert.deepEqual(ollama.prefixes, ['ollama', 'ollama_chat'])
  const chat = await upstream(replyWith('chat-reply.json'))
  for (const path of ['', '/', '/api/chat', '/api/generate']) await run(chat.url + path)
  await run(`${chat.url}/behind/a/proxy/`)
  assert.deepEqual(
    chat.seen.map(({ url }) => url),
    [...Array(4).fill('/api/chat'), '/behind/a/proxy/api/chat'],
  )
  const generate = await upstream(replyWith('generate-suffix-reply.json'))
  await run(generate.url, { operation: 'completion', body: { prompt: 'a' } })
  assert.equal(generate.seen[0]?.url, '/api/generate')
  const embed = await upstream(replyWith('embed-reply.json'))
  await run(embed.url, { operation: 'embedding', body: { input: 'a' } })
  assert.equal(embed.seen[0]?.url, '/api/embed')
})

test('a key becomes a bearer token, and extra headers go along', async () => {
  const { url, seen } = await upstream(replyWith('chat-reply.json'))
  await run(url)
  await run(url, { deployment: { apiKey: 'k', extraHeaders: { 'x-site': 'quay' } } })
  assert.equal(seen[0]?.headers.authorization, undefined)
  assert.equal(seen[0]?.headers['content-type'], 'application/json')
  assert.equal(seen[1]?.headers.authorization, 'Bearer k')
  assert.equal(seen[1]?.headers['x-site'], 'quay')
})

test('a whole answer is one JSON body with its usage', async () => {
  const { url } = await upstream(replyWith('chat-reply.json'))
  const { body, usage } = await run(url)
  assert.equal(JSON.parse(Buffer.from(body ?? []).toString('utf8')).object, 'chat.completion')
  assert.equal(usage?.promptTokens, 21)
})

test('a streamed answer is emitted and leaves no body', async () => {
  const { url, seen } = await upstream((response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.end(fixture('chat-stream.ndjson'))
  })
  const emitted: Uint8Array[] = []
  const emit = (events: Uint8Array) => void emitted.push(events)
  const { body, usage } = await run(url, { stream: true, emit })
  assert.equal(body, null)
  assert.deepEqual([usage?.promptTokens, usage?.completionTokens], [19, 13])
  assert.equal(parseEvents(Buffer.concat(emitted)).length, 15)
  assert.deepEqual(seen[0]?.body, { model: 'llama3.2', messages, stream: true })
})

test('an error reply keeps its status and says what Ollama said', async () => {
  const { url } = await upstream((response) => {
    response.writeHead(404, { 'content-type': 'application/json' })
    response.end('{"error":"model \'llama3.2\' not found"}')
  })
  for (const stream of [false, true]) {
    await assert.rejects(run(url, { stream }), (error) => {
      assert.match(String(error), /ollama pull llama3\.2/)
      return failsWith('upstream_not_found')(error)
    })
  }
})

test('a reply that is not JSON, and an error with status 200, are no answers', async () => {
  const html = await upstream((response) => response.end('<html>hello</html>'))
  await assert.rejects(run(html.url), failsWith('upstream_invalid_response'))
  const failed = await upstream((response) => response.end('{"error":"the runner died"}'))
  await assert.rejects(run(failed.url), failsWith('upstream_error'))
})

test('a socket that closes in the middle of a stream is a cut-off', async () => {
  const { url } = await upstream((response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const bytes = fixture('chat-stream.ndjson')
    response.write(bytes.subarray(0, 400), () => response.destroy())
  })
  await assert.rejects(run(url, { stream: true }), failsWith('upstream_cut_off'))
})

test('an abort closes the connection to Ollama and throws its reason', async () => {
  const closed = Promise.withResolvers<void>()
  const { url } = await upstream((response) => {
    response.on('close', () => closed.resolve())
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(fixture('chat-stream.ndjson').subarray(0, 400))
  })
  const controller = new AbortController()
  const reason = new Error('the client left')
  const emit = () => controller.abort(reason)
  await assert.rejects(run(url, { stream: true, emit, signal: controller.signal }), reason)
  await closed.promise
})

test('a request that cannot be mapped never leaves', async () => {
  const { url, seen } = await upstream(replyWith('chat-reply.json'))
  await assert.rejects(run(url, { body: { messages: [] } }), failsWith('invalid_request'))
  assert.equal(seen.length, 0)
})

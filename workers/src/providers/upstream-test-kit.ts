// What the tests of providers over HTTP share: a server that records what it is sent and answers what
// the test says, and the run of one call against it.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { closeHttp } from './http.ts'
import type { Provider, ProviderResult } from './provider.ts'
import { testCall } from './provider-test-kit.ts'

export type CallOptions = NonNullable<Parameters<typeof testCall>[1]>

export interface Received {
  url: string
  headers: http.IncomingHttpHeaders
  body: Record<string, unknown>
}

type Answering = (response: http.ServerResponse, received: Received) => void

export interface Upstream {
  /** Without a slash at its end. */
  origin: string
  received: Received[]
  /** The next answers, the last one for good. */
  answers: Answering[]
  /** In place of what `answers` holds. */
  answer(next: Answering): void
  close(): Promise<void>
}

export async function startUpstream(): Promise<Upstream> {
  const received: Received[] = []
  const answers: Answering[] = []
  const server = http.createServer(async (request, response) => {
    const bytes = Buffer.concat(await request.toArray())
    const { url = '', headers } = request
    const one = { url, headers, body: await bodyOf(bytes, headers['content-type'] ?? '') }
    received.push(one)
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    answer?.(response, one)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answers,
    answer: (next) => void answers.splice(0, answers.length, next),
    async close() {
      await closeHttp()
      server.close()
      server.closeAllConnections()
    },
  }
}

/** For the tests of one file: forgets after each what it was sent and was to answer. */
export async function upstreamForTests(): Promise<Upstream> {
  const upstream = await startUpstream()
  after(() => upstream.close())
  afterEach(() => {
    upstream.received.length = 0
    upstream.answers.length = 0
  })
  return upstream
}

/** Reads what was recorded of an upstream. */
export function fixturesOf(upstream: string): (name: string) => string {
  return (name) => readFileSync(new URL(`fixtures/${upstream}/${name}`, import.meta.url), 'utf8')
}

/** JSON, or a form's fields and file. */
async function bodyOf(bytes: Buffer, type: string): Promise<Record<string, unknown>> {
  if (!type.startsWith('multipart/form-data')) return JSON.parse(bytes.toString())
  const form = new Response(new Uint8Array(bytes), { headers: { 'content-type': type } })
  return Object.fromEntries(await form.formData())
}

export function json(text: string | object, status = 200, headers: Record<string, string> = {}) {
  const body = typeof text === 'string' ? text : JSON.stringify(text)
  return (response: http.ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  }
}

/** `pieceBytes`: cut into reads of that size; as one without it. */
export function sse(bytes: Uint8Array | string, pieceBytes?: number) {
  const whole = Buffer.from(bytes)
  return async (response: http.ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const size = pieceBytes ?? Math.max(whole.length, 1)
    for (let at = 0; at < whole.length; at += size) {
      response.write(whole.subarray(at, at + size))
      if (size < whole.length) await setImmediate()
    }
    response.end()
  }
}

export interface Outcome extends ProviderResult {
  /** What was emitted. */
  text: string
  /** The reply, parsed; null for a stream. */
  reply: Record<string, unknown> | null
}

export async function runCall(
  provider: Provider,
  body: Record<string, unknown>,
  options: CallOptions,
): Promise<Outcome> {
  const emitted: Uint8Array[] = []
  const call = testCall(body, { emit: (events) => void emitted.push(events), ...options })
  const result = await provider.run(call)
  const reply = result.body === null ? null : JSON.parse(Buffer.from(result.body).toString())
  return { ...result, text: Buffer.concat(emitted).toString(), reply }
}

/** The first choice of each reply or chunk; a chunk of usage alone has none. */
export function firstChoices(
  bodies: readonly (Record<string, unknown> | null)[],
): Record<string, unknown>[] {
  return bodies.flatMap((body) => {
    const choices = body?.choices
    return Array.isArray(choices) ? choices.slice(0, 1) : []
  })
}

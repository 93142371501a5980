// The server under the fakes of upstreams that speak in content blocks: it records and counts its
// calls, paces and cuts its answers as a Behaviour says, and goes wrong as asked. What an answer
// consists of is each fake's own.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { Counter, type FakeCounts } from './ollama-counts.ts'
import { type Behaviour, normal, type StatusFault } from './openai-behaviour.ts'

export interface UpstreamCall {
  path: string
  query: URLSearchParams
  headers: IncomingMessage['headers']
  body: Record<string, unknown>
}

/** An answer in all its forms; which of them goes out is the behaviour's matter. */
export interface Plan {
  stream: boolean
  contentType: string
  whole: string
  /** Events of a stream; each of `tokens` counts as one. */
  opening: Buffer[]
  tokens: Buffer[]
  closing: Buffer[]
  /** Bytes that are no event, and an event that tells of an error. */
  garbage: Buffer
  errorEvent(error: Record<string, unknown>): Buffer
  usage: { promptTokens: number; completionTokens: number }
}

export interface Dialect {
  /** Null: not refused. */
  refuse(call: UpstreamCall): StatusFault | null
  plan(call: UpstreamCall, behaviour: Behaviour, sequence: number): Plan
  headers(sequence: number): Record<string, string>
}

export type BehaviourFor = Partial<Behaviour> | ((call: UpstreamCall) => Partial<Behaviour>)

export interface FakeUpstream {
  /** `http://127.0.0.1:<port>` */
  url: string
  calls: UpstreamCall[]
  counts: FakeCounts
  /** For the calls that come from now on. */
  setBehaviour(behaviour: BehaviourFor): void
  /** Resolves as soon as `condition` holds; rejects after `timeoutMs` (10 s). */
  until(condition: (counts: FakeCounts) => boolean, timeoutMs?: number): Promise<void>
  close(): Promise<void>
}

interface Exchange {
  response: ServerResponse
  headers: Record<string, string>
  counter: Counter
  /** Aborted when the connection closed. */
  gone: AbortSignal
  /** Set before the fake itself breaks the connection: nobody aborted then. */
  broken: boolean
}

const maxBodyBytes = 64 * 1024 * 1024
const maxCalls = 1_000

export async function startUpstream(
  dialect: Dialect,
  initial: BehaviourFor,
): Promise<FakeUpstream> {
  const calls: UpstreamCall[] = []
  const counter = new Counter()
  let behaviour = initial
  const server = createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy())
  })

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readObject(request)
    if (body === null) return void response.writeHead(400).end('{}')
    const { pathname: path, searchParams: query } = new URL(request.url ?? '/', 'http://fake')
    const call = { path, query, headers: request.headers, body }
    calls.push(call)
    if (calls.length > maxCalls) calls.shift()
    const gone = new AbortController()
    counter.add({ started: 1, concurrent: 1 })
    const headers = dialect.headers(counter.counts.started)
    const exchange: Exchange = { response, headers, counter, gone: gone.signal, broken: false }
    response.on('close', () => {
      const finished = response.writableFinished
      const aborted = !finished && !exchange.broken
      counter.add({ concurrent: -1, finished: finished ? 1 : 0, aborted: aborted ? 1 : 0 })
      gone.abort()
    })
    try {
      await answer(call, exchange)
    } catch (error) {
      if (!gone.signal.aborted) throw error
    }
  }

  async function answer(call: UpstreamCall, exchange: Exchange): Promise<void> {
    const given = typeof behaviour === 'function' ? behaviour(call) : behaviour
    const now = { ...normal, ...given }
    const { fault, gate, firstTokenDelayMs } = now
    if (gate !== null) await Promise.race([gate, once(exchange.gone, 'abort')])
    exchange.gone.throwIfAborted()
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'html') return sendText(exchange, 200, 'text/html', '<html>hello</html>')
    const refusal = fault?.kind === 'status' ? fault : dialect.refuse(call)
    if (refusal !== null) {
      Object.assign(exchange.headers, refusal.headers)
      return sendText(exchange, refusal.status, 'application/json', refusal.body)
    }
    if (firstTokenDelayMs > 0) await sleep(firstTokenDelayMs, undefined, { signal: exchange.gone })
    const plan = dialect.plan(call, now, counter.counts.started)
    await (plan.stream ? sendStream(exchange, plan, now) : sendWhole(exchange, plan, now))
  }

  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    counts: counter.counts,
    setBehaviour: (choice) => {
      behaviour = choice
    },
    until: (condition, timeoutMs) => counter.until(condition, timeoutMs),
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function sendWhole(exchange: Exchange, plan: Plan, behaviour: Behaviour): Promise<void> {
  const fault = midway(behaviour)
  if (behaviour.tokenDelayMs > 0) {
    const ms = behaviour.tokenDelayMs * plan.tokens.length
    await sleep(ms, undefined, { signal: exchange.gone })
  }
  const reply = Buffer.from(plan.whole)
  const half = reply.subarray(0, reply.length >> 1)
  if (fault?.kind === 'stall') return
  if (fault?.kind === 'destroy') {
    const length = { 'content-type': 'application/json', 'content-length': reply.length }
    exchange.response.writeHead(200, { ...exchange.headers, ...length })
    return breakOff(exchange, half)
  }
  const made = fault === null ? plan.tokens.length : 0
  exchange.counter.add({ generatedTokens: made, ...(fault === null ? plan.usage : {}) })
  sendText(exchange, 200, 'application/json', fault === null ? reply : half)
}

async function sendStream(exchange: Exchange, plan: Plan, behaviour: Behaviour): Promise<void> {
  const { response, counter, gone } = exchange
  const fault = midway(behaviour)
  const going = fault === null ? plan.tokens : plan.tokens.slice(0, fault.afterTokens)
  response.writeHead(200, { ...exchange.headers, 'content-type': plan.contentType })
  let batch = plan.opening
  let counted = 0
  const flush = async (made: number) => {
    for (const piece of cutBytes(batch, behaviour.chunking)) {
      gone.throwIfAborted()
      const flushed = response.write(piece)
      // Each piece is to be a read of its own at the other end; and a slow reader is waited for.
      if (behaviour.chunking !== 'event') await setImmediate()
      if (!flushed && response.writableNeedDrain) await once(response, 'drain', { signal: gone })
    }
    batch = []
    counter.add({ generatedTokens: made - counted })
    counted = made
  }
  for (const [index, event] of going.entries()) {
    if (behaviour.tokenDelayMs > 0 && index > 0) {
      await flush(index)
      await sleep(behaviour.tokenDelayMs, undefined, { signal: gone })
    }
    batch = [...batch, event]
  }
  if (fault?.kind === 'garbage-event') batch = [...batch, plan.garbage]
  if (fault?.kind === 'error-event') batch = [...batch, plan.errorEvent(fault.error)]
  if (fault === null) batch = [...batch, ...plan.closing]
  await flush(going.length)
  if (fault?.kind === 'stall') return
  if (fault?.kind === 'destroy') return breakOff(exchange, Buffer.from('\0'))
  if (fault === null) counter.add(plan.usage)
  response.end()
}

function sendText(exchange: Exchange, status: number, type: string, text: string | Buffer): void {
  const length = { 'content-type': type, 'content-length': Buffer.byteLength(text) }
  exchange.response.writeHead(status, { ...exchange.headers, ...length })
  exchange.response.end(text)
}

/** Destroys the socket once everything written, with these last bytes, is on its way. */
async function breakOff(exchange: Exchange, last: Buffer): Promise<void> {
  const { response } = exchange
  await new Promise((resolve) => response.write(last, resolve))
  exchange.broken = true
  response.destroy()
}

/** The bytes of some events, cut into reads. */
function cutBytes(events: readonly Buffer[], chunking: Behaviour['chunking']): Buffer[] {
  switch (chunking) {
    case 'byte': {
      const bytes = Buffer.concat(events)
      return Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
    }
    case 'mid-character':
      return events.flatMap((event) => halves(event))
    case 'events':
      return [...events]
    default:
      return [Buffer.concat(events)]
  }
}

/** Cut behind the first byte of the first character that has several, else in the middle. */
function halves(bytes: Buffer): Buffer[] {
  const lead = bytes.findIndex((byte) => byte >= 0xc0)
  const at = lead < 0 ? bytes.length >> 1 : lead + 1
  return [bytes.subarray(0, at), bytes.subarray(at)]
}

function midway({ fault }: Behaviour) {
  return fault !== null && 'afterTokens' in fault ? fault : null
}

/** The body as a JSON object; null if it is none. */
async function readObject(request: IncomingMessage): Promise<Record<string, unknown> | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBodyBytes) return null
    chunks.push(chunk)
  }
  try {
    const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    return isObject ? (parsed as Record<string, unknown>) : null
  } catch {
    return null
  }
}

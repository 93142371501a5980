// A fake of OpenAI's API, or of a vLLM server, on a free port of 127.0.0.1: chat completions,
// completions, embeddings, audio, models. It records its calls and counts what it did, so that a ledger can
// be checked against it.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Counter, type FakeCounts } from './ollama-counts.ts'
import { audioReply, readForm } from './openai-audio.ts'
import {
  type Behaviour,
  failure,
  normal,
  type Preset,
  presets,
  type StatusFault,
} from './openai-behaviour.ts'
import { type Exchange, sendJson, sendStream, sendWhole } from './openai-generation.ts'
import { headersOf, incorrectKey, modelsReply, refusalOf, unknownModel } from './openai-refusals.ts'
import { embeddingReply, type Flavour, generationFor } from './openai-replies.ts'

export interface RecordedCall {
  /** As OpenAI documents it, without `/v1`: `/chat/completions`. */
  path: string
  headers: IncomingMessage['headers']
  body: Record<string, unknown>
}

export type BehaviourChoice =
  | Preset
  | Partial<Behaviour>
  | ((call: RecordedCall) => Partial<Behaviour>)

export interface FakeOpenAiOptions {
  flavour?: Flavour
  /** What /v1/models lists. Where given, other models are refused with 404. */
  models?: readonly string[]
  /** Where given, calls without this key are refused with 401. */
  apiKey?: string
  behaviour?: BehaviourChoice
  /** How many calls `calls` keeps, the newest ones; 0 for load tests. */
  keepCalls?: number
}

export interface FakeOpenAi {
  /** Ends in `/v1`. */
  url: string
  /** All but those for models, oldest first. */
  calls: RecordedCall[]
  counts: FakeCounts
  /** For the calls that come from now on. */
  setBehaviour(choice: BehaviourChoice): void
  /** Resolves as soon as `condition` holds; rejects after `timeoutMs` (10 s). */
  until(condition: (counts: FakeCounts) => boolean, timeoutMs?: number): Promise<void>
  close(): Promise<void>
}

const maxBodyBytes = 64 * 1024 * 1024
const defaultModel = 'gpt-4o-mini'

/** Starts one. By default its answers have five tokens and leave at once, in one write. */
export async function startFakeOpenAi(options: FakeOpenAiOptions = {}): Promise<FakeOpenAi> {
  const fake = new Fake(options)
  const server = createServer((request, response) => void fake.serve(request, response))
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    calls: fake.calls,
    counts: fake.counter.counts,
    setBehaviour: (choice) => {
      fake.behaviour = choice
    },
    until: (condition, timeoutMs) => fake.counter.until(condition, timeoutMs),
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

class Fake {
  readonly calls: RecordedCall[] = []
  readonly counter = new Counter()
  behaviour: BehaviourChoice
  readonly #options: FakeOpenAiOptions
  readonly #flavour: Flavour
  #sequence = 0

  constructor(options: FakeOpenAiOptions) {
    this.#options = options
    this.#flavour = options.flavour ?? 'openai'
    this.behaviour = options.behaviour ?? 'normal'
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://fake')
    const path = pathname.replace(/^\/v1/, '')
    const headers = headersOf(this.#flavour, this.counter.counts.started)
    const { apiKey } = this.#options
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      return refuse({ response, headers }, incorrectKey(request.headers.authorization))
    }
    if (request.method === 'GET') return this.#models(path, { response, headers })
    const body = await readObject(request)
    if (body === 'left') return
    if (body === null) {
      const message = 'We could not parse the JSON body of your request.'
      return refuse({ response, headers }, failure(400, { message }))
    }
    return this.#run({ path, headers: request.headers, body }, response, headers)
  }

  /** Records and counts a call from its beginning to the end of its connection's part in it. */
  async #run(
    call: RecordedCall,
    response: ServerResponse,
    headers: Record<string, string>,
  ): Promise<void> {
    this.calls.push(call)
    if (this.calls.length > (this.#options.keepCalls ?? 1_000)) this.calls.shift()
    const { counter } = this
    const gone = new AbortController()
    const exchange: Exchange = { response, headers, counter, gone: gone.signal, broken: false }
    counter.add({ started: 1, concurrent: 1 })
    response.on('close', () => {
      const finished = response.writableFinished
      const aborted = !finished && !exchange.broken
      counter.add({ concurrent: -1, finished: finished ? 1 : 0, aborted: aborted ? 1 : 0 })
      gone.abort()
    })
    try {
      await this.#answer(call, exchange)
    } catch (error) {
      if (!gone.signal.aborted) throw error
    }
  }

  async #answer(call: RecordedCall, exchange: Exchange): Promise<void> {
    const { path, body } = call
    const { response, counter, gone } = exchange
    const behaviour = this.#behaviourFor(call)
    const { fault, gate, firstTokenDelayMs } = behaviour
    if (gate !== null) await Promise.race([gate, once(gone, 'abort')])
    gone.throwIfAborted()
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'status') return refuse(exchange, fault)
    if (fault?.kind === 'html') {
      response.writeHead(200, { 'content-type': 'text/html' })
      response.end('<html><body>It works!</body></html>')
      return
    }
    const refusal = refusalOf(path, body, this.#options.models)
    if (refusal !== null) return refuse(exchange, refusal)
    if (firstTokenDelayMs > 0) await sleep(firstTokenDelayMs, undefined, { signal: gone })
    const audio = audioReply(path, body)
    if (audio !== null) {
      const headers = { 'content-type': audio.contentType, 'content-length': audio.body.length }
      response.writeHead(200, { ...exchange.headers, ...headers }).end(audio.body)
      return
    }
    if (path === '/embeddings') {
      const { json, promptTokens } = embeddingReply(body, behaviour)
      if (behaviour.usage) counter.add({ promptTokens })
      return sendJson(exchange, 200, json)
    }
    const kind = path === '/chat/completions' ? 'chat' : 'completion'
    this.#sequence += 1
    const generation = generationFor(kind, body, behaviour, this.#flavour, this.#sequence)
    const streams = body.stream === true && fault?.kind !== 'not-streamed'
    await (streams ? sendStream : sendWhole)(exchange, generation)
  }

  #models(path: string, exchange: Pick<Exchange, 'response' | 'headers'>): void {
    const { models = [defaultModel] } = this.#options
    const reply = modelsReply(path, models, this.#flavour)
    if (reply !== null) sendJson(exchange, 200, JSON.stringify(reply))
    else refuse(exchange, unknownModel(path.slice('/models/'.length)))
  }

  #behaviourFor(call: RecordedCall): Behaviour {
    const { behaviour } = this
    if (typeof behaviour === 'function') return { ...normal, ...behaviour(call) }
    return { ...normal, ...(typeof behaviour === 'string' ? presets[behaviour] : behaviour) }
  }
}

function refuse(
  { response, headers }: Pick<Exchange, 'response' | 'headers'>,
  refusal: StatusFault,
): void {
  const all = { ...headers, ...refusal.headers }
  sendJson({ response, headers: all }, refusal.status, refusal.body)
}

/** The body as an object, of a form too; null if it is none, `left` if the client went away before its end. */
async function readObject(
  request: IncomingMessage,
): Promise<Record<string, unknown> | null | 'left'> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBodyBytes) return null
      chunks.push(chunk)
    }
  } catch {
    return 'left'
  }
  const { 'content-type': type = '' } = request.headers
  if (type.startsWith('multipart/form-data')) return readForm(type, Buffer.concat(chunks))
  try {
    const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    return isObject ? (parsed as Record<string, unknown>) : null
  } catch {
    return null
  }
}

// A plain HTTP client of one gateway, with the master key and connections of its own: whole answers,
// and event streams that are read event by event and can be left in the middle.
import assert from 'node:assert/strict'
import { Agent, fetch, type Response } from 'undici'

export interface Answer {
  status: number
  headers: Response['headers']
  text: string
  /** Null where the body is no JSON. */
  json: unknown
}

export interface RequestOptions {
  method?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

export interface EventStream {
  status: number
  headers: Response['headers']
  /** The data of the next event, null after the last one. Rejects if the connection breaks. */
  next(): Promise<string | null>
  /** The data of all events that are left. */
  rest(): Promise<string[]>
  /** Closes the connection, as a client does that goes away. */
  leave(): void
}

/** An answer of any form, as it arrives. */
export interface TextStream {
  status: number
  headers: Response['headers']
  /** What has come since the last piece, null at the end. Rejects if the connection breaks. */
  next(): Promise<string | null>
  /** Closes the connection, as a client does that goes away. */
  leave(): void
}

export interface Client {
  get(path: string, options?: RequestOptions): Promise<Answer>
  /** An object is sent as JSON, a text or bytes as they are. */
  post(path: string, body: object | string | Uint8Array, options?: RequestOptions): Promise<Answer>
  /** Resolves with the answer's head; an answer that is no event stream fails the test. */
  open(path: string, body: object, options?: RequestOptions): Promise<EventStream>
  /** Resolves with the answer's head, whatever its form. */
  openText(path: string, body: object, options?: RequestOptions): Promise<TextStream>
  close(): Promise<void>
}

/** No answer of most tests takes longer; beyond this it hangs. */
const usualLimitMs = 60_000

export function createClient(
  url: string,
  key: string | null,
  limitMs: number = usualLimitMs,
): Client {
  const dispatcher = new Agent({ connections: null, pipelining: 1 })
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` }

  const send = (path: string, options: RequestOptions, body: string | Uint8Array | null) =>
    fetch(`${url}${path}`, {
      method: options.method ?? (body === null ? 'GET' : 'POST'),
      headers: {
        ...authorization,
        ...(body === null ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      body,
      signal: AbortSignal.any([
        AbortSignal.timeout(limitMs),
        ...(options.signal === undefined ? [] : [options.signal]),
      ]),
      dispatcher,
    })

  const begin = async (path: string, body: object, options: RequestOptions) => {
    const leaving = new AbortController()
    const signal = AbortSignal.any([
      leaving.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ])
    const response = await send(path, { ...options, signal }, JSON.stringify(body))
    return { response, leaving }
  }

  return {
    get: async (path, options = {}) => whole(await send(path, options, null)),
    async post(path, body, options = {}) {
      const isReady = typeof body === 'string' || body instanceof Uint8Array
      return whole(await send(path, options, isReady ? body : JSON.stringify(body)))
    },
    async open(path, body, options = {}) {
      const { response, leaving } = await begin(path, body, options)
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        assert.fail(`not a stream: ${response.status} ${await response.text()}`)
      }
      return eventStream(response, leaving)
    },
    async openText(path, body, options = {}) {
      const { response, leaving } = await begin(path, body, options)
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      return {
        status: response.status,
        headers: response.headers,
        next: async () => (await reader?.read())?.value ?? null,
        leave: () => leaving.abort(),
      }
    },
    close: () => dispatcher.destroy(),
  }
}

async function whole(response: Response): Promise<Answer> {
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: parsed(text) }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function eventStream(response: Response, leaving: AbortController): EventStream {
  const events = eventsOf(response)
  const next = async () => {
    const { done, value } = await events.next()
    return done ? null : value
  }
  return {
    status: response.status,
    headers: response.headers,
    next,
    async rest() {
      const all: string[] = []
      for (let data = await next(); data !== null; data = await next()) all.push(data)
      return all
    },
    leave: () => leaving.abort(),
  }
}

/** As strict as a test should be: each event is one `data:` line and an empty one, nothing else. */
async function* eventsOf(response: Response): AsyncGenerator<string, void> {
  assert.ok(response.body !== null)
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true })
    const events = text.split('\n\n')
    text = events.pop() ?? ''
    for (const event of events) {
      if (event.startsWith(':')) continue
      assert.match(event, /^data: [^\n]+$/)
      yield event.slice('data: '.length)
    }
  }
  assert.equal(text, '', 'the stream ends inside an event')
}

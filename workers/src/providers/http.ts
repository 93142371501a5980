// HTTP to upstreams: one keep-alive connection pool per origin, no time limits of its own (the
// caller's signal rules time), every failure a PenstockError, and an abort that destroys the socket.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { Exchange } from './http-exchange.ts'
import { closePools, poolOf, targetOf } from './http-pool.ts'

export { readError, readErrorText, upstreamError } from './http-error.ts'

const discardMs = 1_000
const maxDiscardedReads = 16

export interface HttpRequest {
  /** Credentials in it (`http://user:pass@host`) become a Basic authorization header. */
  url: string
  headers: Record<string, string>
  body: string | Uint8Array
  signal: AbortSignal
}

export interface HttpResponse {
  status: number
  /** Lower-case names; a repeated header's values joined by `, `. */
  headers: Record<string, string>
  /** What one read of the socket brought is one chunk. Leaving the loop early closes the socket. */
  body: AsyncIterable<Uint8Array>
}

/**
 * POSTs to an upstream; resolves with the answer's head, whatever its status.
 * @throws PenstockError `upstream_unreachable` when no answer came, `upstream_invalid_response` when
 *   it was not HTTP; reading the body throws `upstream_cut_off` when it ends early. Both throw
 *   `signal.reason` once the signal is aborted.
 */
export function send(request: HttpRequest): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    request.signal.throwIfAborted()
    const target = targetOf(request.url)
    new Exchange(request, target, resolve, reject).dispatch(poolOf(target.origin))
  })
}

/**
 * The whole body.
 * @throws PenstockError `upstream_invalid_response` beyond `maxBytes`, and what reading throws.
 */
export async function readAll(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  // Not through `bounded`: every plain answer comes this way, and a generator is two turns more.
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  const [first] = chunks
  return first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, size)
}

/** The body as it comes. @throws PenstockError `upstream_invalid_response` beyond `maxBytes` */
export async function* bounded(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    yield chunk
  }
}

function tooLarge(maxBytes: number): PenstockError {
  const message = `The upstream's answer is larger than ${maxBytes} bytes.`
  return new PenstockError('upstream_invalid_response', message)
}

/**
 * Lets the last bytes of an answer arrive in the background, so that its connection serves again: a
 * stream is over at `[DONE]`, before the body is. After a second the connection is closed instead.
 */
export function discardRest(body: AsyncIterator<Uint8Array>): void {
  const timer = setTimeout(() => void body.return?.(), discardMs)
  void drain(body).finally(() => clearTimeout(timer))
}

async function drain(body: AsyncIterator<Uint8Array>): Promise<void> {
  try {
    for (let read = 0; read < maxDiscardedReads; read += 1) {
      if ((await body.next()).done) return
    }
    await body.return?.()
  } catch {
    // The answer itself was complete.
  }
}

/** Closes every connection; calls still under way fail. The next `send` starts afresh. */
export function closeHttp(): Promise<void> {
  return closePools()
}

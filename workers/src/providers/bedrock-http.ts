// The AWS SDK's HTTP over our own connections: one pool per origin, one abort, the same errors as for
// every other upstream. (The SDK's default speaks HTTP/2, which custom endpoints often do not.)
import { Readable } from 'node:stream'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { bounded, send } from './http.ts'

/** The part of the SDK's HttpRequest that a signed request consists of. */
interface SignedRequest {
  protocol: string
  hostname: string
  port?: number
  path: string
  query: Record<string, string | string[] | null>
  headers: Record<string, string>
  body?: unknown
}

const maxReplyBytes = 64 * 1024 * 1024
const eventStream = 'application/vnd.amazon.eventstream'

/**
 * A `requestHandler` for the SDK's clients. `extraHeaders` are added behind the signature, which
 * covers only the headers that it names.
 */
export function sdkHandler(extraHeaders: Record<string, string>) {
  return {
    async handle(request: SignedRequest, options: { abortSignal?: unknown } = {}) {
      const { abortSignal } = options
      const response = await send({
        url: urlOf(request),
        headers: { ...request.headers, ...extraHeaders },
        body: bodyOf(request.body),
        signal: abortSignal instanceof AbortSignal ? abortSignal : new AbortController().signal,
      })
      const { status: statusCode, headers } = response
      const isStream = headers['content-type'] === eventStream
      const body = Readable.from(isStream ? response.body : bounded(response.body, maxReplyBytes))
      return { response: { statusCode, headers, body } }
    },
    updateHttpClientConfig() {},
    httpHandlerConfigs: () => ({}),
  }
}

function urlOf({ protocol, hostname, port, path, query }: SignedRequest): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one ?? '')}`),
  )
  const search = pairs.length === 0 ? '' : `?${pairs.join('&')}`
  return `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}${search}`
}

function bodyOf(body: unknown): string | Uint8Array {
  if (typeof body === 'string' || body instanceof Uint8Array) return body
  if (body === undefined || body === null) return ''
  throw new PenstockError('internal_error', 'The AWS SDK sent a body of an unforeseen kind.')
}

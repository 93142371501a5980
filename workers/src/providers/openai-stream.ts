// The streamed half of the OpenAI-compatible provider: bytes in, the same bytes out.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { discardRest, type HttpResponse, readAll } from './http.ts'
import { eventsOfReply, parseReply } from './openai-reply.ts'
import { usageOf } from './openai-usage.ts'
import type { ProviderCall, ProviderResult } from './provider.ts'
import { skipBlanks } from './sse-event.ts'
import { SseScanner } from './sse-scan.ts'

const openBrace = 0x7b
const maxReplyBytes = 64 * 1024 * 1024

/** Passes the events of an answer to a streaming request on until `[DONE]`. */
export async function runStream(
  call: ProviderCall,
  response: HttpResponse,
): Promise<ProviderResult> {
  const type = (response.headers['content-type'] ?? '').toLowerCase()
  const reader = response.body[Symbol.asyncIterator]()
  if (type.includes('html')) {
    await reader.return?.()
    const message = 'The upstream answered with an HTML page instead of a stream.'
    throw new PenstockError('upstream_invalid_response', message)
  }
  const first = await reader.next()
  // Whatever a server calls it: a line of an event stream cannot begin like this.
  if (type.includes('json') || (!first.done && isObject(first.value))) {
    return emitWhole(call, await readAll(joined(first, reader), maxReplyBytes))
  }
  const scanner = new SseScanner((events) => call.emit(events), call.includeUsage)
  try {
    for (let read = first; !read.done; read = await reader.next()) {
      scanner.push(read.value)
      if (scanner.done) break
    }
    scanner.end()
  } catch (error) {
    await reader.return?.()
    throw error
  }
  discardRest(reader)
  const { usageEvent } = scanner
  return { body: null, usage: usageEvent === null ? null : usageOf(JSON.parse(usageEvent)) }
}

/** A whole reply, or an error with status 200. */
function isObject(bytes: Uint8Array): boolean {
  const begin = skipBlanks(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0)
  return bytes[begin] === openBrace
}

async function* joined(
  first: IteratorResult<Uint8Array>,
  reader: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let read = first; !read.done; read = await reader.next()) yield read.value
  } finally {
    await reader.return?.()
  }
}

/** Some servers do not stream and answer a streaming request with the whole reply. */
function emitWhole(call: ProviderCall, bytes: Uint8Array): ProviderResult {
  const { operation, includeUsage } = call
  const reply = parseReply(operation, bytes)
  call.emit(Buffer.from(eventsOfReply(reply, operation, includeUsage)))
  return { body: null, usage: usageOf(reply) }
}

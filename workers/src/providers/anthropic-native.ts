// Anthropic's streams for clients that speak its API: the upstream's own bytes, cut into whole events by
// byte searches. Only the two events that carry counts are parsed, none of those that carry tokens.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'
import { streamedAnthropicError } from './anthropic-errors.ts'
import { type AnthropicUsage, unexpected, usageCounts, usageOf } from './anthropic-reply.ts'
import { discardRest } from './http.ts'
import type { ProviderCall } from './provider.ts'
import { eventEnd, readEvent } from './sse-event.ts'

const maxEventBytes = 4 * 1024 * 1024
const lineFeed = 0x0a
const blockEvent = Buffer.from('event: content_block_')

const counted = z.object({
  type: z.string(),
  message: z.object({ usage: z.unknown().optional() }).optional(),
  usage: z.unknown().optional(),
})

/**
 * Emits the whole events of each read in one piece, until message_stop. What precedes the first block
 * is held back, so that a failure before it keeps its HTTP status.
 * @throws PenstockError `upstream_cut_off` without a message_stop, `upstream_invalid_response` for what
 *   is no event, the upstream's own error for an error event; and what `body` throws.
 */
export async function passAnthropic(
  call: ProviderCall,
  body: AsyncIterable<Uint8Array>,
): Promise<TokenUsage | null> {
  const scan = new NativeScan((events) => call.emit(events))
  const reader = body[Symbol.asyncIterator]()
  try {
    while (!scan.done) {
      const { done, value } = await reader.next()
      if (done) break
      scan.push(value)
    }
  } catch (error) {
    await reader.return?.()
    throw error
  }
  if (!scan.done) {
    const message = 'Anthropic ended its stream before the answer was complete.'
    throw new PenstockError('upstream_cut_off', message)
  }
  discardRest(reader)
  return scan.usage
}

export class NativeScan {
  readonly #emit: (events: Uint8Array) => void
  /** The bytes behind the last whole event; or, before the first block, all of them. */
  #rest: Uint8Array[] = []
  #restBytes = 0
  #counts: AnthropicUsage | null = null
  #begun = false
  /** Where the next event begins in what is kept. */
  #scanned = 0
  done = false

  constructor(emit: (events: Uint8Array) => void) {
    this.#emit = emit
  }

  get usage(): TokenUsage | null {
    return usageOf(this.#counts)
  }

  push(chunk: Uint8Array): void {
    if (this.done) return
    this.#rest.push(chunk)
    this.#restBytes += chunk.length
    if (this.#restBytes > maxEventBytes + chunk.length) {
      throw unexpected(`an event of more than ${maxEventBytes} bytes`)
    }
    if (!chunk.includes(lineFeed)) return
    const [first] = this.#rest
    const alone = first !== undefined && this.#rest.length === 1
    const all = alone
      ? Buffer.from(first.buffer, first.byteOffset, first.length)
      : Buffer.concat(this.#rest, this.#restBytes)
    try {
      this.#scan(all)
    } finally {
      // What came before a failure in the same read still belongs to the client.
      this.#pass(all)
    }
  }

  #scan(all: Buffer): void {
    while (!this.done) {
      const end = eventEnd(all, this.#scanned)
      if (end === -1) return
      if (isBlock(all, this.#scanned)) this.#begun = true
      else this.#take(all, this.#scanned, end)
      this.#scanned = end
    }
  }

  /** An event that is rare: it may tell counts, an error or the end. */
  #take(all: Buffer, start: number, end: number): void {
    const { data, isError } = readEvent(all, start, end)
    if (data === null) return
    const text = data.toString()
    if (isError) throw streamedAnthropicError(text)
    const { type, message, usage } = parseEvent(text)
    if (type === 'error') throw streamedAnthropicError(text)
    if (type !== 'message_start' && type !== 'ping') this.#begun = true
    this.#count(message?.usage)
    this.#count(usage)
    if (type === 'message_stop') this.done = true
  }

  #pass(all: Buffer): void {
    const sent = this.#begun ? this.#scanned : 0
    this.#scanned -= sent
    const rest = all.subarray(sent)
    this.#rest = rest.length === 0 ? [] : [rest]
    this.#restBytes = rest.length
    if (sent > 0) this.#emit(all.subarray(0, sent))
  }

  /** Later counts replace the earlier ones that they repeat. */
  #count(usage: unknown): void {
    const counts = usage === undefined ? null : usageCounts(usage)
    if (counts === null) return
    const told = Object.entries(counts).filter(([, value]) => value !== null && value !== undefined)
    this.#counts = { ...this.#counts, ...Object.fromEntries(told) }
  }
}

function isBlock(all: Buffer, at: number): boolean {
  for (let i = 0; i < blockEvent.length; i += 1) {
    if (all[at + i] !== blockEvent[i]) return false
  }
  return true
}

function parseEvent(text: string): z.infer<typeof counted> {
  try {
    return counted.parse(JSON.parse(text))
  } catch {
    throw unexpected('an event that is not of its form')
  }
}

// Anthropic's streams (docs: build-with-claude/streaming) as chat.completion.chunk events: message_start,
// then blocks of content with their deltas, message_delta with reason and counts, message_stop.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { createParser } from 'eventsource-parser'
import { z } from 'zod'
import { streamedAnthropicError } from './anthropic-errors.ts'
import {
  type AnthropicUsage,
  finishReason,
  parseAnthropic,
  unexpected,
  usageCounts,
  usageOf,
} from './anthropic-reply.ts'
import { ChatChunks } from './canonical-chunks.ts'
import { discardRest } from './http.ts'
import type { ProviderCall } from './provider.ts'

const maxEventCharacters = 4 * 1024 * 1024

const index = z.int().min(0)
const messageStart = z.object({
  message: z.object({ id: z.string().nullish().catch(null), usage: z.unknown().optional() }),
})
const blockStart = z.object({ index, content_block: z.looseObject({ type: z.string() }) })
const toolUse = z.object({ id: z.string(), name: z.string(), input: z.unknown() })
const redacted = z.object({ data: z.string() })
const opening = z.object({ text: z.string().default(''), thinking: z.string().default('') })
const blockDelta = z.object({
  index,
  delta: z.object({
    type: z.string(),
    text: z.string().optional(),
    thinking: z.string().optional(),
    signature: z.string().optional(),
    partial_json: z.string().optional(),
  }),
})
const blockStop = z.object({ index })
const messageDelta = z.object({
  delta: z.object({ stop_reason: z.string().nullish() }),
  usage: z.unknown().optional(),
})

/**
 * Emits the events of each read in one piece, until message_stop.
 * @throws PenstockError `upstream_cut_off` without a message_stop, `upstream_invalid_response` for what
 *   is not of Anthropic's form, the upstream's own error for an error event; and what `body` throws.
 */
export async function translateAnthropic(
  call: ProviderCall,
  body: AsyncIterable<Uint8Array>,
): Promise<TokenUsage | null> {
  const translator = new Translator(call)
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent: ({ data }) => translator.take(data),
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') {
        throw unexpected(`an event of more than ${maxEventCharacters} characters`)
      }
    },
    maxBufferSize: maxEventCharacters,
  })
  const reader = body[Symbol.asyncIterator]()
  try {
    while (!translator.done) {
      const { done, value } = await reader.next()
      if (done) break
      try {
        parser.feed(decoder.decode(value, { stream: true }))
      } finally {
        // What came before a failure in the same read still belongs to the client.
        translator.flush()
      }
    }
  } catch (error) {
    await reader.return?.()
    throw error
  }
  if (!translator.done) {
    const message = 'Anthropic ended its stream before the answer was complete.'
    throw new PenstockError('upstream_cut_off', message)
  }
  discardRest(reader)
  return translator.usage
}

class Translator {
  readonly #call: ProviderCall
  #chunks: ChatChunks | null = null
  #counts: AnthropicUsage | null = null
  #stopReason: string | null = null
  #events = ''
  done = false

  constructor(call: ProviderCall) {
    this.#call = call
  }

  get usage(): TokenUsage | null {
    return usageOf(this.#counts)
  }

  flush(): void {
    const events = this.#events
    this.#events = ''
    if (events !== '') this.#call.emit(Buffer.from(events))
  }

  /** One event's data; its type is in it, too. */
  take(data: string): void {
    if (this.done) return
    const event = parseEvent(data)
    switch (event.type) {
      case 'message_start': {
        const { message } = parseAnthropic(messageStart, event)
        this.#chunks = new ChatChunks(this.#call.model, message.id || null)
        this.#count(message.usage)
        return
      }
      case 'content_block_start':
        this.#events += this.#startBlock(event)
        return
      case 'content_block_delta':
        this.#events += this.#delta(event)
        return
      case 'content_block_stop':
        this.#events += this.#begun().stop(parseAnthropic(blockStop, event).index)
        return
      case 'message_delta': {
        const { delta, usage } = parseAnthropic(messageDelta, event)
        this.#stopReason = delta.stop_reason ?? this.#stopReason
        this.#count(usage)
        return
      }
      case 'message_stop': {
        const usage = this.#call.includeUsage ? this.usage : null
        this.#events += this.#begun().end(finishReason(this.#stopReason), usage)
        this.done = true
        return
      }
      case 'error':
        throw streamedAnthropicError(data)
    }
    // `ping`, and types that may be added (Anthropic's versioning policy).
  }

  #startBlock(event: unknown): string {
    const { index: at, content_block: block } = parseAnthropic(blockStart, event)
    const chunks = this.#begun()
    switch (block.type) {
      case 'tool_use': {
        const { id, name, input } = parseAnthropic(toolUse, block)
        return chunks.call(at, id, name, input)
      }
      case 'redacted_thinking':
        return chunks.redactedThinking(parseAnthropic(redacted, block).data)
      case 'text':
        return chunks.text(parseAnthropic(opening, block).text)
      case 'thinking':
        return chunks.thinking(at, parseAnthropic(opening, block).thinking)
      default:
        return ''
    }
  }

  #delta(event: unknown): string {
    const { index: at, delta } = parseAnthropic(blockDelta, event)
    const chunks = this.#begun()
    switch (delta.type) {
      case 'text_delta':
        return chunks.text(delta.text ?? '')
      case 'thinking_delta':
        return chunks.thinking(at, delta.thinking ?? '')
      case 'signature_delta':
        chunks.signature(at, delta.signature ?? '')
        return ''
      case 'input_json_delta':
        return chunks.input(at, delta.partial_json ?? '')
      default:
        return ''
    }
  }

  #begun(): ChatChunks {
    if (this.#chunks === null) throw unexpected('content before its message_start')
    return this.#chunks
  }

  /** Later counts replace the earlier ones that they repeat. */
  #count(usage: unknown): void {
    const counts = usageCounts(usage)
    if (counts === null) return
    const told = Object.entries(counts).filter(([, value]) => value !== null && value !== undefined)
    this.#counts = { ...this.#counts, ...Object.fromEntries(told) }
  }
}

function parseEvent(data: string): { type?: unknown } {
  let event: unknown
  try {
    event = JSON.parse(data)
  } catch {
    throw unexpected('an event that is not JSON')
  }
  if (typeof event === 'object' && event !== null && !Array.isArray(event)) return event
  throw unexpected('an event that is not a JSON object')
}

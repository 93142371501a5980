// Gemini's stream (`alt=sse`): one GenerateContentResponse per event, without an end of its own: it is
// whole once every candidate that began has its finish reason.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { createdNow } from './answer-head.ts'
import { geminiError, unexpected } from './gemini-errors.ts'
import {
  type Candidate,
  finishOf,
  idOf,
  isEmpty,
  logprobsOf,
  parseResponse,
  saidIn,
} from './gemini-reply.ts'
import { usageFields, usageOf } from './gemini-usage.ts'
import type { ProviderCall } from './provider.ts'
import { eventEnd, readEvent } from './sse-event.ts'

/** An event may hold an image. */
const maxEventBytes = 32 * 1024 * 1024
const LF = 0x0a
const CR = 0x0d
const nothing = Buffer.alloc(0)

interface Choice {
  calls: number
  saidNothing: boolean
  finished: boolean
}

/**
 * Translates a streamed answer, and emits the events of each read in one piece.
 * @throws PenstockError `upstream_cut_off` when it ends without its end, `upstream_invalid_response`
 *   for what is no such stream, the reported error of an error event; and what `body` throws.
 */
export async function translateStream(
  body: AsyncIterable<Uint8Array>,
  call: Pick<ProviderCall, 'model' | 'includeUsage' | 'emit'>,
): Promise<TokenUsage | null> {
  const chunks = new Chunks(call.model)
  const events = new EventBuffer()
  const take = (bytes: Buffer, last: boolean): void => {
    const text = chunks.translate(bytes, last)
    if (text !== '') call.emit(Buffer.from(text))
    if (chunks.failure !== null) throw chunks.failure
  }
  try {
    for await (const chunk of body) take(events.take(chunk), false)
  } catch (error) {
    // A complete answer stays complete, whatever becomes of its connection.
    if (chunks.failure !== null || !chunks.isWhole) throw error
  }
  take(events.rest(), true)
  if (!chunks.isWhole) {
    const message = 'Gemini ended its stream before the answer was complete.'
    throw new PenstockError('upstream_cut_off', message)
  }
  const usage = chunks.usage
  if (call.includeUsage && usage !== null) call.emit(Buffer.from(chunks.usageEvent(usage)))
  return usage
}

/** Collects reads, cut anywhere, into whole events. */
class EventBuffer {
  #parts: Uint8Array[] = []
  #bytes = 0

  /** Every event that `chunk` completes; empty when it completes none. */
  take(chunk: Uint8Array): Buffer {
    this.#keep(chunk)
    // An event ends with its line: an image of many reads is put together once.
    if (!chunk.includes(LF) && !chunk.includes(CR)) return nothing
    const buffer = this.rest()
    let end = 0
    for (let next = eventEnd(buffer, 0); next !== -1; next = eventEnd(buffer, end)) end = next
    if (end < buffer.length) this.#keep(buffer.subarray(end))
    return buffer.subarray(0, end)
  }

  /** What is left; the buffer is empty then. */
  rest(): Buffer {
    const rest = Buffer.concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#bytes = 0
    return rest
  }

  #keep(chunk: Uint8Array): void {
    this.#parts.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > maxEventBytes)
      throw unexpected(`an event of more than ${maxEventBytes} bytes`)
  }
}

/** The chunks of one stream; its fixed parts are serialized once. */
class Chunks {
  usage: TokenUsage | null = null
  /** What went wrong; the events before it still belong to the client. */
  failure: unknown = null
  readonly #model: string
  readonly #choices = new Map<number, Choice>()
  #head: string | null = null

  constructor(model: string) {
    this.#model = model
  }

  get isWhole(): boolean {
    const choices = [...this.#choices.values()]
    return choices.length > 0 && choices.every(({ finished }) => finished)
  }

  /** @param last the body has ended: a last event may lack its blank line, or be cut */
  translate(bytes: Buffer, last: boolean): string {
    let events = ''
    try {
      for (let start = 0; start < bytes.length; ) {
        const found = eventEnd(bytes, start)
        const end = found === -1 ? bytes.length : found
        const { data } = readEvent(bytes, start, end)
        start = end
        if (data !== null && data.length > 0) events += this.#event(data, last)
      }
    } catch (error) {
      this.failure = error
    }
    return events
  }

  usageEvent(usage: TokenUsage): string {
    return `${this.#head}],"usage":${JSON.stringify(usageFields(usage))}}\n\n`
  }

  #event(data: Buffer, last: boolean): string {
    const value = parseJson(data)
    if (value === undefined && last) return ''
    if (value === undefined) throw unexpected('an event that is not JSON')
    if (typeof value === 'object' && value !== null && 'error' in value) {
      throw geminiError(200, {}, data.toString())
    }
    const parsed = parseResponse(value)
    this.usage = usageOf(parsed) ?? this.usage
    this.#head ??= `data: ${JSON.stringify({
      id: idOf(parsed),
      object: 'chat.completion.chunk',
      created: createdNow(),
      model: parsed.modelVersion ?? this.#model,
    }).slice(0, -1)},"choices":[`
    return (parsed.candidates ?? [])
      .map((candidate, position) => this.#candidate(candidate, candidate.index ?? position))
      .join('')
  }

  /** The first chunk of a choice says the role; it goes out with its first words. */
  #candidate(candidate: Candidate, index: number): string {
    const known = this.#choices.get(index)
    const choice = known ?? { calls: 0, saidNothing: true, finished: false }
    this.#choices.set(index, choice)
    const said = saidIn(candidate)
    const calls = said.calls.map((call, position) => ({ index: choice.calls + position, ...call }))
    choice.calls += calls.length
    const delta = {
      ...(said.thought === '' ? {} : { reasoning_content: said.thought }),
      ...(said.content === '' ? {} : { content: said.content }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
      ...(said.images.length === 0 ? {} : { images: said.images }),
    }
    const begins = choice.saidNothing
    if (!isEmpty(said)) choice.saidNothing = false
    const { finishReason } = candidate
    const finish = finishReason
      ? finishOf(finishReason, choice.calls > 0, choice.saidNothing)
      : null
    if (choice.finished || (isEmpty(said) && finish === null)) return ''
    choice.finished = finish !== null
    const logprobs = logprobsOf(candidate)
    const opening = begins ? this.#chunk(index, { role: 'assistant', content: '' }, null) : ''
    const saying = isEmpty(said) ? '' : this.#chunk(index, delta, null, logprobs)
    return opening + saying + (finish === null ? '' : this.#chunk(index, {}, finish))
  }

  #chunk(
    index: number,
    delta: object,
    finish: string | null,
    logprobs: object | null = null,
  ): string {
    const more = logprobs === null ? {} : { logprobs }
    const choice = JSON.stringify({ index, delta, ...more, finish_reason: finish })
    return `${this.#head}${choice}]}\n\n`
  }
}

function parseJson(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString())
  } catch {
    return undefined
  }
}

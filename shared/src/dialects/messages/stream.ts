// Anthropic's event stream (docs: build-with-claude/streaming) made of canonical chunks: message_start,
// blocks of content one after the other, message_delta with stop reason and counts, message_stop.
import type { FrameEnd } from '../../bus/frame-codec.ts'
import { type ErrorInfo, PenstockError } from '../../contracts/errors.ts'
import { type ChatDelta, createChatEventReader } from '../chat-events.ts'
import type { DialectStream, Fields } from '../dialect.ts'
import { messageHead, newCallId, stopOf, thinkingBlocksOf, usageOf } from './answer.ts'
import { messagesError } from './errors.ts'
import { wantsThinking } from './request.ts'

type Call = NonNullable<ChatDelta['tool_calls']>[number]
type Open = { kind: 'text' | 'thinking' } | { kind: 'call'; key: number; id: string }

const noCounts = {
  input_tokens: 0,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: 0,
}

export function messagesStream(request: Fields): DialectStream {
  return new MessagesStream(request)
}

class MessagesStream implements DialectStream {
  readonly #request: Fields
  readonly #showsThinking: boolean
  readonly #reader = createChatEventReader()
  #begun = false
  /** Blocks so far, the open one included. */
  #blocks = 0
  #open: Open | null = null
  /** Upstream's indexes of calls whose blocks are closed. */
  readonly #closedCalls = new Set<number>()
  #called = false
  #finish: string | null = null
  #matched: unknown = null
  #events = ''

  constructor(request: Fields) {
    this.#request = request
    this.#showsThinking = wantsThinking(request)
  }

  push(sse: Uint8Array): Uint8Array | null {
    for (const { id, model, choices } of this.#reader.push(sse)) {
      this.#begin(id, model)
      for (const { index, delta, finish_reason: finish, stop_reason: matched } of choices) {
        if (index !== 0) continue
        if (delta) this.#delta(delta)
        this.#finish = finish ?? this.#finish
        this.#matched = matched ?? this.#matched
      }
    }
    return this.#flush()
  }

  end({ usage }: FrameEnd): Uint8Array {
    this.#begin(null, null)
    this.#close()
    const delta = stopOf(this.#finish, this.#matched, this.#called, this.#request)
    this.#event({ type: 'message_delta', delta, usage: usageOf(usage) })
    this.#event({ type: 'message_stop' })
    return this.#flush() ?? new Uint8Array(0)
  }

  error(info: ErrorInfo): Uint8Array {
    this.#event(messagesError(info))
    return this.#flush() ?? new Uint8Array(0)
  }

  #begin(id: string | null | undefined, model: string | null | undefined): void {
    if (this.#begun) return
    this.#begun = true
    const head = messageHead(id, model, this.#request)
    // The counts are known at the end: message_delta's replace these.
    const rest = { content: [], stop_reason: null, stop_sequence: null, usage: noCounts }
    this.#event({ type: 'message_start', message: { ...head, ...rest } })
    this.#event({ type: 'ping' })
  }

  #delta(delta: ChatDelta): void {
    const thoughts = thinkingBlocksOf(delta.thinking_blocks)
    const reasoning = delta.reasoning_content || delta.reasoning
    if (this.#showsThinking) {
      // A reply that came in one piece has its thinking in both forms.
      if (reasoning && thoughts.length === 0) this.#thinking(reasoning)
      for (const block of thoughts) {
        if (block.type === 'redacted_thinking') this.#whole(block)
        else this.#signed(block.thinking, block.signature)
      }
    }
    const text = delta.content || delta.refusal
    if (text) this.#text(text)
    for (const call of delta.tool_calls ?? []) this.#call(call)
  }

  #text(text: string): void {
    if (this.#open?.kind !== 'text') this.#start({ kind: 'text' }, { type: 'text', text: '' })
    this.#piece({ type: 'text_delta', text })
  }

  #thinking(thinking: string): void {
    if (this.#open?.kind !== 'thinking') {
      this.#start({ kind: 'thinking' }, { type: 'thinking', thinking: '', signature: '' })
    }
    this.#piece({ type: 'thinking_delta', thinking })
  }

  /** The whole of a block whose thinking, as a rule, was streamed before. */
  #signed(thinking: string, signature: string): void {
    if (this.#open?.kind !== 'thinking') this.#thinking(thinking)
    this.#piece({ type: 'signature_delta', signature })
    this.#close()
  }

  #whole(block: Fields): void {
    this.#start({ kind: 'thinking' }, block)
    this.#close()
  }

  #call({ index, id, function: called }: Call): void {
    const open = this.#open?.kind === 'call' ? this.#open : null
    // Some servers number all calls 0 and tell them apart by their ids.
    const isOther = open?.key !== index || (id && called?.name && id !== open.id)
    // Some servers close each call with an empty piece, when all of them have come.
    if (isOther && this.#closedCalls.has(index) && !called?.name && !called?.arguments) return
    if (isOther) {
      if (open !== null) this.#closedCalls.add(open.key)
      if (this.#closedCalls.has(index) && !called?.name) {
        const message = 'The upstream went on with a tool call after it had begun the next one.'
        throw new PenstockError('upstream_invalid_response', message)
      }
      const callId = id || newCallId()
      const block = { type: 'tool_use', id: callId, name: called?.name ?? '', input: {} }
      this.#start({ kind: 'call', key: index, id: callId }, block)
      this.#called = true
    }
    const json = called?.arguments
    if (json) this.#piece({ type: 'input_json_delta', partial_json: json })
  }

  #start(open: Open, block: Fields): void {
    this.#close()
    this.#open = open
    this.#event({ type: 'content_block_start', index: this.#blocks, content_block: block })
    this.#blocks += 1
  }

  #piece(delta: Fields): void {
    this.#event({ type: 'content_block_delta', index: this.#blocks - 1, delta })
  }

  #close(): void {
    if (this.#open === null) return
    if (this.#open.kind === 'call') this.#closedCalls.add(this.#open.key)
    this.#open = null
    this.#event({ type: 'content_block_stop', index: this.#blocks - 1 })
  }

  #event(event: Fields): void {
    this.#events += `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
  }

  #flush(): Uint8Array | null {
    if (this.#events === '') return null
    const bytes = Buffer.from(this.#events)
    this.#events = ''
    return bytes
  }
}

// A stream of content blocks as OpenAI's chat.completion.chunk events. Each method returns the events
// that it makes, '' for none; every token of an answer passes here.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { createdNow, newId } from './answer-head.ts'
import { type FinishReason, finishOfJson, jsonTool, usageFields } from './canonical-answer.ts'
import type { ThinkingBlock } from './canonical-messages.ts'

/** Characters of thinking that are kept until its block ends. */
const maxThinking = 8 * 1024 * 1024

type Block =
  | { kind: 'thinking'; text: string; signature: string }
  /** `position` among the calls; null: the stand-in tool, whose input is the answer's text. */
  | { kind: 'call'; position: number | null; given: unknown; streamed: boolean }

/** Blocks are told apart by the upstream's `index`, and may overlap. */
export class ChatChunks {
  readonly #head: string
  readonly #blocks = new Map<number, Block>()
  #begun = false
  #calls = 0
  #isJson = false

  /** @param id the upstream's own; null: it has none */
  constructor(model: string, id: string | null) {
    const chunk = {
      id: id ?? newId('chatcmpl-'),
      object: 'chat.completion.chunk',
      created: createdNow(),
      model,
    }
    this.#head = `data: ${JSON.stringify(chunk).slice(0, -1)},"choices":[`
  }

  text(text: string): string {
    return text === '' ? '' : this.#delta(`{"content":${JSON.stringify(text)}}`)
  }

  /** @throws PenstockError `upstream_invalid_response` beyond 8 M characters */
  thinking(index: number, text: string): string {
    const block = this.#thinkingBlock(index)
    block.text += text
    if (block.text.length > maxThinking) {
      const message = `The upstream thought for more than ${maxThinking} characters.`
      throw new PenstockError('upstream_invalid_response', message)
    }
    return text === '' ? '' : this.#delta(`{"reasoning_content":${JSON.stringify(text)}}`)
  }

  signature(index: number, signature: string): void {
    this.#thinkingBlock(index).signature += signature
  }

  redactedThinking(data: string): string {
    return this.#thought({ type: 'redacted_thinking', data })
  }

  /** A tool call begins. `given` is its input if no piece of it follows. */
  call(index: number, id: string, name: string, given: unknown): string {
    const isJson = name === jsonTool
    const position = isJson ? null : this.#calls
    this.#blocks.set(index, { kind: 'call', position, given, streamed: false })
    if (isJson) {
      this.#isJson = true
      return ''
    }
    this.#calls += 1
    const opened = { index: position, id, type: 'function', function: { name, arguments: '' } }
    return this.#delta(`{"tool_calls":[${JSON.stringify(opened)}]}`)
  }

  /** A piece of the call's input, as JSON text. */
  input(index: number, json: string): string {
    const block = this.#blocks.get(index)
    if (block?.kind !== 'call' || json === '') return ''
    block.streamed = true
    if (block.position === null) return this.text(json)
    const piece = { index: block.position, function: { arguments: json } }
    return this.#delta(`{"tool_calls":[${JSON.stringify(piece)}]}`)
  }

  /** A block ends: the thinking with its signature in one piece, so that it can be sent back. */
  stop(index: number): string {
    const block = this.#blocks.get(index)
    this.#blocks.delete(index)
    if (block?.kind === 'thinking' && block.signature !== '') {
      const { text: thinking, signature } = block
      return this.#thought({ type: 'thinking', thinking, signature })
    }
    if (block?.kind !== 'call' || block.streamed) return ''
    this.#blocks.set(index, block)
    const events = this.input(index, JSON.stringify(block.given ?? {}))
    this.#blocks.delete(index)
    return events
  }

  /** @param usage null: none is to be told */
  end(finish: FinishReason, usage: TokenUsage | null): string {
    const reason = this.#isJson ? finishOfJson(finish) : finish
    const events = this.#opening() + this.#event('{}', JSON.stringify(reason))
    if (usage === null) return events
    return `${events}${this.#head}],"usage":${JSON.stringify(usageFields(usage))}}\n\n`
  }

  #thinkingBlock(index: number): Block & { kind: 'thinking' } {
    const known = this.#blocks.get(index)
    if (known?.kind === 'thinking') return known
    const block = { kind: 'thinking' as const, text: '', signature: '' }
    this.#blocks.set(index, block)
    return block
  }

  #thought(block: ThinkingBlock): string {
    return this.#delta(`{"thinking_blocks":[${JSON.stringify(block)}]}`)
  }

  #delta(delta: string): string {
    return this.#opening() + this.#event(delta, 'null')
  }

  /** The role goes out with the first token, so that a failure before it keeps its HTTP status. */
  #opening(): string {
    if (this.#begun) return ''
    this.#begun = true
    return this.#event('{"role":"assistant","content":""}', 'null')
  }

  #event(delta: string, finish: string): string {
    return `${this.#head}{"index":0,"delta":${delta},"finish_reason":${finish}}]}\n\n`
  }
}

// The output items of a response as they grow, and the events that tell of each step, as OpenAI's API
// reference orders them: item added, part added, deltas, part done, item done.
import type { Fields } from '../dialect.ts'
import { sealThinking } from './reasoning.ts'

export type ItemKind = 'reasoning' | 'message' | 'refusal' | 'function_call'

/** What an answer grew by. */
export type Growth =
  | { kind: 'reasoning' | 'message' | 'refusal'; text: string; logprobs?: unknown[] }
  | { kind: 'thinking'; block: unknown }
  | { kind: 'function_call'; call: number; id: string; name: string; text: string }

export interface GrowingItem {
  kind: ItemKind
  id: string
  /** Its text, its thought or its arguments. */
  text: string
  callId: string
  name: string
  logprobs: unknown[]
  thinking: unknown[]
  status: 'in_progress' | 'completed' | 'incomplete'
  /** What an attempt left behind that another one did not take up: no part of the answer. */
  abandoned: boolean
}

export type Emit = (event: Fields & { type: string }) => void

const idPrefixes = { reasoning: 'rs', message: 'msg', refusal: 'msg', function_call: 'fc' } as const

export class Output {
  readonly items: GrowingItem[] = []
  /** The position of each call, by the upstream's own number. */
  #calls = new Map<number, number>()
  readonly #emit: Emit
  readonly #idOf: (prefix: string, index: number) => string

  constructor(emit: Emit, idOf: (prefix: string, index: number) => string) {
    this.#emit = emit
    this.#idOf = idOf
  }

  grow(growth: Growth): void {
    if (growth.kind === 'function_call') {
      const { call, id: callId, name, text } = growth
      let index = this.#calls.get(call)
      if (index === undefined) {
        this.#closeTexts()
        index = this.#open('function_call', { callId, name })
        this.#calls.set(call, index)
      }
      this.#append(index, text)
      return
    }
    const kind = growth.kind === 'thinking' ? 'reasoning' : growth.kind
    const open = this.items.findLastIndex((item) => item.status === 'in_progress')
    let index = open
    if (this.items[open]?.kind !== kind) {
      this.#closeTexts()
      index = this.#open(kind)
    }
    if (growth.kind === 'thinking') this.items[index]?.thinking.push(growth.block)
    else this.#append(index, growth.text, growth.logprobs)
  }

  /** The answer is at its end; `incomplete`: it was cut there. */
  close(status: 'completed' | 'incomplete'): void {
    for (const index of this.items.keys()) this.#close(index, status)
  }

  /** What was said so far is no part of the answer any more. */
  abandon(): void {
    this.close('incomplete')
    for (const item of this.items) item.abandoned = true
    this.#calls.clear()
  }

  /** Takes over what another output has, behind or within its own: its texts begin with those here. */
  adopt(other: Output, offset: number): void {
    for (const [at, { kind, text, logprobs, thinking, ...rest }] of other.items.entries()) {
      const index = offset + at
      const before = this.items[index]
      if (before === undefined) this.#open(kind, rest)
      const seen = before ?? { text: '', logprobs: [] }
      this.#append(index, text.slice(seen.text.length), logprobs.slice(seen.logprobs.length))
      this.items[index]?.thinking.splice(0, Infinity, ...thinking)
      if (rest.status !== 'in_progress') this.#close(index, rest.status)
    }
    this.#calls = new Map([...other.#calls].map(([call, index]) => [call, offset + index]))
  }

  /** As the response lists them. */
  list(): Fields[] {
    return this.items.filter(({ abandoned }) => !abandoned).map(wireItem)
  }

  #open(kind: ItemKind, named: { callId: string; name: string } = { callId: '', name: '' }) {
    const index = this.items.length
    const item: GrowingItem = {
      kind,
      id: this.#idOf(idPrefixes[kind], index),
      text: '',
      callId: named.callId,
      name: named.name,
      logprobs: [],
      thinking: [],
      status: 'in_progress',
      abandoned: false,
    }
    this.items.push(item)
    this.#emit({ type: 'response.output_item.added', output_index: index, item: wireItem(item) })
    const part = partOf(item)
    if (part !== null) {
      this.#emit({ type: 'response.content_part.added', ...placeOf(item, index), part })
    }
    return index
  }

  #append(index: number, delta: string, logprobs: unknown[] = []): void {
    const item = this.items[index]
    if (item === undefined || (delta === '' && logprobs.length === 0)) return
    item.text += delta
    item.logprobs.push(...logprobs)
    const event = { type: `${eventNames[item.kind]}.delta`, ...placeOf(item, index), delta }
    this.#emit(item.kind === 'message' ? { ...event, logprobs } : event)
  }

  /** Calls stay open to the end: their pieces may come mixed. */
  #closeTexts(): void {
    for (const [index, { kind }] of this.items.entries()) {
      if (kind !== 'function_call') this.#close(index, 'completed')
    }
  }

  #close(index: number, status: 'completed' | 'incomplete'): void {
    const item = this.items[index]
    if (item === undefined || item.status !== 'in_progress') return
    item.status = status
    const place = placeOf(item, index)
    const { kind, text, name, logprobs } = item
    const whole = {
      reasoning: { text },
      message: { text, logprobs },
      refusal: { refusal: text },
      function_call: { name, arguments: text },
    }[kind]
    this.#emit({ type: `${eventNames[kind]}.done`, ...place, ...whole })
    const part = partOf(item)
    if (part !== null) this.#emit({ type: 'response.content_part.done', ...place, part })
    this.#emit({ type: 'response.output_item.done', output_index: index, item: wireItem(item) })
  }
}

const eventNames: Record<ItemKind, string> = {
  reasoning: 'response.reasoning_text',
  message: 'response.output_text',
  refusal: 'response.refusal',
  function_call: 'response.function_call_arguments',
}

function placeOf({ id, kind }: GrowingItem, index: number): Fields {
  const place = { item_id: id, output_index: index }
  return kind === 'function_call' ? place : { ...place, content_index: 0 }
}

/** An item that has not begun has no part yet. */
function wireItem(item: GrowingItem): Fields {
  const { kind, id, status, thinking } = item
  if (kind === 'function_call') {
    const { callId, name, text } = item
    return { id, type: kind, status, call_id: callId, name, arguments: text }
  }
  const content = status === 'in_progress' ? [] : [partOf(item)]
  if (kind === 'reasoning') {
    const sealed = thinking.length === 0 ? {} : { encrypted_content: sealThinking(thinking) }
    return { id, type: kind, status, summary: [], content, ...sealed }
  }
  return { id, type: 'message', status, role: 'assistant', content }
}

function partOf({ kind, text, logprobs }: GrowingItem): Fields | null {
  if (kind === 'function_call') return null
  if (kind === 'reasoning') return { type: 'reasoning_text', text }
  if (kind === 'refusal') return { type: 'refusal', refusal: text }
  return { type: 'output_text', text, annotations: [], logprobs }
}

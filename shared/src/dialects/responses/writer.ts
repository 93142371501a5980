// One response from its first event to its last: canonical bytes in, numbered events out. It can be told
// that another attempt begins anew (see rejoin.ts), and can be set up again from the events it wrote.
import type { ErrorInfo } from '../../contracts/errors.ts'
import type { TokenUsage } from '../../contracts/usage.ts'
import { type ChatChunk, type ChatEventReader, createChatEventReader } from '../chat-events.ts'
import type { Fields } from '../dialect.ts'
import { grownBy } from './growth.ts'
import { Output } from './output.ts'
import { Rejoin } from './rejoin.ts'
import { itemIdOf } from './response-ids.ts'
import {
  type Asked,
  type Became,
  incompleteReason,
  responseObject,
  usageObject,
} from './response-object.ts'
import { restoreItems } from './restore.ts'

export type NumberedEvent = Fields & { type: string; sequence_number: number }

/** The response as it ended, and its last event, which is not written yet. */
export interface Ending {
  response: Fields
  last: NumberedEvent
}

export class ResponseWriter {
  readonly #asked: Asked
  readonly #onEvent: (event: NumberedEvent) => void
  readonly output: Output
  #reader: ChatEventReader = createChatEventReader()
  #rejoin: Rejoin | null = null
  #next = 0
  #begun = false
  #finish: string | null = null
  #model: string | null = null

  constructor(asked: Asked, onEvent: (event: NumberedEvent) => void) {
    this.#asked = asked
    this.#onEvent = onEvent
    const idOf = (prefix: string, index: number) => itemIdOf(asked.id, prefix, index)
    this.output = new Output((event) => this.#emit(event), idOf)
  }

  /** Anything was written. */
  get begun(): boolean {
    return this.#next > 0
  }

  /** The number of the next event. */
  get next(): number {
    return this.#next
  }

  /** Goes on behind what was written before, with another attempt's answer. */
  resume(written: readonly NumberedEvent[]): void {
    this.#next = (written.at(-1)?.sequence_number ?? -1) + 1
    this.#begun = written.some(({ type }) => type === 'response.in_progress')
    this.output.items.push(...restoreItems(written))
    this.restart()
  }

  /** The response exists and waits. @returns it */
  queued(): Fields {
    const response = this.#object({ status: 'queued' })
    this.#emit({ type: 'response.created', response })
    this.#emit({ type: 'response.queued', response })
    return response
  }

  /** @throws PenstockError `upstream_invalid_response` */
  push(sse: Uint8Array): void {
    for (const chunk of this.#reader.push(sse)) this.take(chunk)
  }

  take(chunk: ChatChunk): void {
    const { growths, finish, model } = grownBy(chunk)
    this.#model = model ?? this.#model
    this.#begin()
    for (const growth of growths) {
      if (this.#rejoin === null) this.output.grow(growth)
      else if (this.#rejoin.grow(growth)) this.#rejoin = null
    }
    this.#finish = finish ?? this.#finish
  }

  /** Another attempt answers from the beginning. */
  restart(): void {
    this.#reader = createChatEventReader()
    this.#finish = null
    this.#rejoin = this.output.items.some((one) => !one.abandoned) ? new Rejoin(this.output) : null
  }

  end(usage: TokenUsage): Ending {
    return this.#complete(usageObject(usage))
  }

  /** The response, where no events are wanted. */
  whole(usage: Fields | null): Fields {
    return this.#complete(usage).response
  }

  fail(error: ErrorInfo): Ending {
    if (!this.begun) this.#begin()
    this.output.close('incomplete')
    return this.#last({ status: 'failed', error })
  }

  /** There is no event of its own for it: the response says what happened. */
  cancel(): Ending {
    this.#begin()
    this.output.close('incomplete')
    const { response, last } = this.#last({ status: 'cancelled' })
    return { response, last: { ...last, type: 'response.incomplete' } }
  }

  /** As it stands now. */
  snapshot(became: Became): Fields {
    return this.#object({ output: this.output.list(), ...became })
  }

  #complete(usage: Fields | null): Ending {
    this.#begin()
    this.#rejoin?.end()
    this.#rejoin = null
    const reason = incompleteReason(this.#finish)
    const status = reason === null ? 'completed' : 'incomplete'
    this.output.close(status)
    return this.#last({ status, reason, usage })
  }

  #last(became: Became): Ending {
    const response = this.snapshot(became)
    const type = `response.${became.status}`
    return { response, last: { type, sequence_number: this.#next, response } }
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    const response = this.#object({ status: 'in_progress' })
    if (this.#next === 0) this.#emit({ type: 'response.created', response })
    this.#emit({ type: 'response.in_progress', response })
  }

  #object(became: Became): Fields {
    return responseObject(this.#asked, { model: this.#model, ...became })
  }

  #emit(event: Fields & { type: string }): void {
    const { type, ...fields } = event
    this.#onEvent({ type, sequence_number: this.#next++, ...fields })
  }
}

export function eventText(event: NumberedEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

// The events of one background response, kept in a stream as the text that clients get. One gateway at a
// time writes them: each write names the one before, so that a gateway which was thought dead and
// replaced cannot add a line. Whoever reads sees every event once and in order.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DeliverPolicy } from '@nats-io/jetstream'
import type { Bus } from '@penstock/shared/bus/connect'
import { errorCode } from '@penstock/shared/bus/streams'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { NumberedEvent } from '@penstock/shared/dialects/responses/writer'
import { events } from './response-streams.ts'

export interface EventWriter {
  add(text: string): void
  /** Resolves when all that was added is stored. @throws PenstockError, as `failed` */
  flush(): Promise<void>
  /** Why nothing can be added any more: `conflict`, another gateway writes now; null: it can. */
  readonly failed: PenstockError | null
}

const maxWriteBytes = 512 * 1024
/** Events that wait for NATS; a model writes a thousandth of it in a second. */
const maxUnwrittenBytes = 16 * 1024 * 1024
/** How long an event is offered to a NATS that does not answer, in milliseconds. */
const patienceMs = 20_000
const pauseMs = 250
/** JetStream's "wrong last sequence". */
const wrongSequence = new Set([10_071, 10_164])

/** @param after the stream's sequence of the last write so far; 0: there is none */
export function createEventWriter(bus: Bus, id: string, after = 0): EventWriter {
  const subject = `${events.root}.${id}`
  const self = randomUUID()
  let unwritten: Buffer[] = []
  let unwrittenBytes = 0
  let last = after
  let failed: PenstockError | null = null
  let writing: Promise<void> | null = null

  async function writeAll(): Promise<void> {
    while (unwritten.length > 0 && failed === null) {
      const bytes = Buffer.concat(unwritten)
      unwritten = []
      unwrittenBytes = 0
      for (let at = 0; at < bytes.length && failed === null; at += maxWriteBytes) {
        await write(bytes.subarray(at, at + maxWriteBytes))
      }
    }
    writing = null
  }

  async function write(data: Uint8Array): Promise<void> {
    const giveUpAt = Date.now() + patienceMs
    for (;;) {
      try {
        // With its own id a write that NATS had taken already is none the second time.
        const options = { msgID: `${self}:${last}`, expect: { lastSubjectSequence: last } }
        last = (await bus.js.publish(subject, data, options)).seq
        return
      } catch (cause) {
        if (wrongSequence.has(errorCode(cause) ?? 0)) {
          failed = new PenstockError('conflict', 'Another gateway has taken over.', { cause })
          return
        }
        if (Date.now() > giveUpAt) {
          const message = 'The events of the response could not be stored.'
          failed = new PenstockError('service_unavailable', message, { cause })
          return
        }
        await sleep(pauseMs)
      }
    }
  }

  return {
    get failed() {
      return failed
    },
    add(text) {
      const bytes = Buffer.from(text)
      unwritten.push(bytes)
      unwrittenBytes += bytes.length
      if (unwrittenBytes > maxUnwrittenBytes) {
        failed = new PenstockError(
          'service_unavailable',
          'Events come faster than they are stored.',
        )
      }
      writing ??= writeAll()
    },
    async flush() {
      await writing
      if (failed !== null) throw failed
    },
  }
}

export interface StoredEvent {
  text: string
  sequence: number
  isLast: boolean
}

/** What was written so far, and the stream's sequence of the last write. */
export async function storedEvents(bus: Bus, id: string) {
  const end = await lastWrite(bus, id)
  const all: NumberedEvent[] = []
  if (end === null) return { events: all, after: 0 }
  const split = createSplitter()
  const reading = await openReading(bus, id)
  // Of events that are deleted meanwhile none comes.
  const patience = setTimeout(() => void reading.close(), patienceMs)
  let seen = 0
  try {
    for await (const msg of reading.messages) {
      patience.refresh()
      seen = msg.seq
      for (const { text } of split(msg.data)) all.push(JSON.parse(text.slice(text.indexOf('{'))))
      if (msg.seq >= end) break
    }
  } finally {
    clearTimeout(patience)
    await reading.close()
  }
  if (seen < end) throw unreadable(new Error('The events stopped coming.'))
  return { events: all, after: end }
}

/**
 * Reads on until the last event, or until the signal aborts.
 * @throws PenstockError `not_found`: the events are not kept any more; `service_unavailable`
 */
export async function* followEvents(
  bus: Bus,
  id: string,
  startingAfter: number,
  signal: AbortSignal,
): AsyncGenerator<StoredEvent, void> {
  if ((await lastWrite(bus, id)) === null) throw gone()
  const split = createSplitter()
  let expected = 0
  const reading = await openReading(bus, id)
  const stop = () => void reading.close()
  signal.addEventListener('abort', stop)
  try {
    // It may have been aborted while this was opened.
    if (signal.aborted) return
    for await (const msg of reading.messages) {
      if (signal.aborted) return
      for (const event of split(msg.data)) {
        // The oldest ones may have gone to make room.
        if (expected === 0 && event.sequence > startingAfter + 1) throw gone()
        expected = event.sequence + 1
        if (event.sequence > startingAfter) yield event
        if (event.isLast) return
      }
    }
  } finally {
    signal.removeEventListener('abort', stop)
    await reading.close()
  }
}

async function lastWrite(bus: Bus, id: string): Promise<number | null> {
  try {
    const query = { last_by_subj: `${events.root}.${id}` }
    return (await bus.jsm.direct.getMessage(events.name, query))?.seq ?? null
  } catch (cause) {
    throw unreadable(cause)
  }
}

async function openReading(bus: Bus, id: string) {
  try {
    const filter = { filter_subjects: `${events.root}.${id}`, deliver_policy: DeliverPolicy.All }
    const consumer = await bus.js.consumers.get(events.name, filter)
    const messages = await consumer.consume()
    return {
      messages,
      async close() {
        await messages.close()
        await consumer.delete().catch(() => undefined)
      },
    }
  } catch (cause) {
    throw unreadable(cause)
  }
}

const head = /^event: (\S+)\ndata: \{"type":"[^"]*","sequence_number":(\d+)/
const lastTypes = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** Whole events out of writes that are cut anywhere. */
function createSplitter(): (data: Uint8Array) => StoredEvent[] {
  let rest: Buffer = Buffer.alloc(0)
  return (data) => {
    rest = Buffer.concat([rest, data])
    const found: StoredEvent[] = []
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const text = rest.toString('utf8', 0, end + 2)
      rest = rest.subarray(end + 2)
      const [, type = '', sequence = ''] = head.exec(text) ?? []
      found.push({ text, sequence: Number(sequence), isLast: lastTypes.has(type) })
    }
    return found
  }
}

function gone(): PenstockError {
  return new PenstockError('not_found', 'The events of this response are not kept any more.')
}

function unreadable(cause: unknown): PenstockError {
  const { code } = toErrorInfo(cause)
  if (code === 'not_found') return gone()
  const message = 'The events of the response cannot be read at the moment. Try again.'
  return new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
}

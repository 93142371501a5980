// `Idempotency-Key`: a repeat within a day gets the first one's answer, also while that still runs, and
// never a second generation. So that the answer is there for the repeat, a request with a key goes on when its
// client leaves; and the client's end waits until the answer is kept.
import { createHash, randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServicesView } from '@penstock/shared/bus/heartbeat'
import { type ErrorInfo, PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { createRecent } from '@penstock/shared/recent'
import type { Logger } from '@penstock/shared/telemetry/log'
import { createFlight, type Flight, type Member, type Start } from '../cache/flight.ts'
import { decodeRecording, encodeRecording, type Recording, replay } from '../cache/recording.ts'
import type { IdempotencyRecord, IdempotencyStore } from './idempotency-store.ts'
import { isRemembered } from './remembered.ts'

export interface IdempotencyQuestion {
  /** Of whose key it is, and its text. */
  id: string
  fingerprint: string
  stream: boolean
  /** Epoch milliseconds. */
  deadline: number
}

export interface Idempotency {
  /** Answers the member; it is asked to start only where no one was before it. @returns leave */
  run(question: IdempotencyQuestion, member: Member): () => void
  /** Resolves when what ended is kept, or after a second. */
  close(): Promise<void>
}

export interface IdempotencyOptions {
  store: IdempotencyStore
  gatewayId: string
  services: Pick<ServicesView, 'isLost'>
  log: Logger
}

const header = 'idempotency-key'
const maxKeyLength = 255
/** How often it is asked whether another gateway has the answer by now. */
const pollMs = 200
/** A client that joins a stream late is told at once what came so far: less than it may leave unread. */
const maxStreamBytes = 7 * 1024 * 1024
const maxPlainBytes = 32 * 1024 * 1024
const closeMs = 1_000
/** Claims of which it is not known whether they were written down; beyond it the oldest are forgotten. */
const maxDoubts = 10_000

/** Null: there is none. @throws PenstockError `invalid_request` */
export function idempotencyKeyOf({ headers }: IncomingMessage): string | null {
  const key = headers[header]
  if (key === undefined || key === '') return null
  if (typeof key === 'string' && key.length <= maxKeyLength) return key
  const message = `Invalid request: ${header}: expected at most ${maxKeyLength} characters`
  throw new PenstockError('invalid_request', message, { param: header })
}

/** SHA-256 in hex; each part counts as it is. */
export function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex')
}

export function createIdempotency(options: IdempotencyOptions): Idempotency {
  const { store, gatewayId, services, log } = options
  const running = new Map<string, { fingerprint: string; flight: Flight }>()
  const keeping = new Set<Promise<void>>()
  const doubts = createRecent<string>(maxDoubts)

  async function keep(
    { id, fingerprint }: IdempotencyQuestion,
    recording: Recording | null,
    error: ErrorInfo | null,
  ): Promise<void> {
    const record = (state: IdempotencyRecord['state']) => ({ fingerprint, gatewayId, state })
    try {
      const hasBegun = recording === null || recording.data.length > 0
      if (!isRemembered(error, hasBegun)) {
        await store.forget(id)
        return
      }
      if (recording !== null) await store.putAnswer(id, encodeRecording(recording))
      await store.set(id, record(recording === null ? 'lost' : 'done'))
    } catch (cause) {
      log.warn({ err: cause }, 'an answer with an Idempotency-Key could not be kept')
      await store.set(id, record('lost')).catch(() => undefined)
    }
  }

  /** @returns what the first one was answered; null: it is this one that runs */
  async function claim(question: IdempotencyQuestion): Promise<Recording | null> {
    const { id } = question
    const name = doubts.get(id) ?? randomUUID()
    // A claim that NATS confirms too late stands all the same: its repeat is to know it as its own.
    doubts.set(id, name)
    const answered = await claimAs(name, question)
    doubts.delete(id)
    return answered
  }

  async function claimAs(name: string, question: IdempotencyQuestion): Promise<Recording | null> {
    const { id, fingerprint, deadline } = question
    const mine: IdempotencyRecord = { fingerprint, gatewayId, state: 'running', claim: name }
    while (Date.now() < deadline) {
      if (await store.create(id, mine)) return null
      const found = await store.get(id)
      if (found === null) continue
      const { record, revision } = found
      if (record.fingerprint !== fingerprint) throw reused()
      if (record.claim === name) return null
      if (record.state === 'done') {
        const answer = await store.getAnswer(id)
        const recording = answer === null ? null : decodeRecording(answer)
        if (recording !== null) return recording
      }
      // What this gateway runs is known here; it has ended, and that could not be written down.
      if (record.state !== 'running' || record.gatewayId === gatewayId) throw notKept()
      // The answer, if there was one, died with the gateway that waited for it.
      const isLost = services.isLost('gateway', record.gatewayId)
      if (isLost && (await store.update(id, mine, revision))) return null
      await sleep(pollMs)
    }
    const message = 'The first request with this Idempotency-Key was not answered in time.'
    throw new PenstockError('deadline_exceeded', message)
  }

  return {
    run(question, member) {
      const { id, fingerprint, stream } = question
      const known = running.get(id)
      if (known !== undefined) {
        if (known.fingerprint !== fingerprint) return refuse(member, reused())
        return known.flight.join(member) ?? refuse(member, notKept())
      }
      /** Whether it is this flight's to write down how it ends. */
      let isOurs = false
      const flight = createFlight({
        stream,
        maxBytes: stream ? maxStreamBytes : maxPlainBytes,
        outlivesClients: true,
        onOver(recording, error) {
          const kept = isOurs ? keep(question, recording, error) : Promise.resolve()
          keeping.add(kept)
          return kept.finally(() => {
            keeping.delete(kept)
            running.delete(id)
          })
        },
        onEmpty() {},
      })
      running.set(id, { fingerprint, flight })
      const leave = flight.join(member) ?? (() => {})
      claim(question)
        .then((answered) => {
          if (answered !== null) {
            replay(answered, flight.sink)
            return
          }
          isOurs = true
          flight.lead()
        })
        .catch((cause) => flight.sink.onError(toErrorInfo(asUnavailable(cause))))
      return leave
    },
    async close() {
      const enough = new Promise((resolve) => setTimeout(resolve, closeMs).unref())
      await Promise.race([Promise.all(keeping), enough])
    },
  }
}

function refuse({ sink }: { sink: Parameters<Start>[0] }, { info }: PenstockError): () => void {
  sink.onError(info)
  return () => {}
}

/** 422, as the IETF's draft of the header has it. */
function reused(): PenstockError {
  const message = 'This Idempotency-Key was used with another request before.'
  return new PenstockError('conflict', message, { status: 422, param: header })
}

function notKept(): PenstockError {
  const message =
    'The first request with this Idempotency-Key has ended, and its answer could not be kept.'
  return new PenstockError('conflict', message, { param: header })
}

/** Whatever is no error of ours comes from NATS. */
function asUnavailable(cause: unknown): unknown {
  if (cause instanceof PenstockError) return cause
  const message = 'The Idempotency-Key cannot be looked up. Try again.'
  return new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
}

// What is kept of a response: itself, what was sent for it, and whose it is. Larger ones than a message
// may be lie in pieces, whose first one is written last and tells which belong together.
import { randomUUID } from 'node:crypto'
import type { Bus } from '@penstock/shared/bus/connect'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { isResponseId } from '@penstock/shared/dialects/responses/response-ids'
import { z } from 'zod'
import { ensureResponseStreams, events, records } from './response-streams.ts'

export const storedResponse = z.object({
  /** The id of the key that made it; empty where the gateway is open. */
  owner: z.string(),
  response: z.looseObject({ id: z.string(), status: z.string(), background: z.boolean() }),
  /** What was new in its request: what came before stands with the responses before. */
  input: z.array(z.looseObject({ type: z.string(), id: z.string() })),
})
export type StoredResponse = z.infer<typeof storedResponse>

/** `record`: a StoredResponse. `job`: what it takes to run one that has not ended. */
type Kind = 'record' | 'job'

export interface ResponseStore {
  /** @throws PenstockError `service_unavailable` */
  put(id: string, kind: Kind, value: object): Promise<void>
  /** Puts without waiting; whoever asks for it here waits then. Failures are `onFailure`'s. */
  putSoon(id: string, value: StoredResponse, onFailure: (cause: unknown) => void): void
  /** Null: there is none, or one of somebody else. @throws PenstockError `service_unavailable` */
  get(id: string, owner: string): Promise<StoredResponse | null>
  job(id: string): Promise<unknown>
  removeJob(id: string): Promise<void>
  /** Itself, its job and its events. @throws PenstockError `service_unavailable` */
  remove(id: string): Promise<void>
}

const versionLength = 36
const maxPieceBytes = 512 * 1024
/** A record that is being replaced while it is read is read again. */
const maxReads = 5
const firstPiece = z.object({ pieces: z.int().min(1) })

export async function openResponseStore(bus: Bus): Promise<ResponseStore> {
  await ensureResponseStreams(bus)
  /** Bounded by the requests that are being answered. */
  const onTheirWay = new Map<string, Promise<void>>()
  const subjectOf = (id: string, kind: Kind, piece: number | '*') =>
    `${records.root}.${id}.${kind}.${piece}`

  async function put(id: string, kind: Kind, value: object): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(value))
    const version = randomUUID()
    const count = Math.max(1, Math.ceil(bytes.length / maxPieceBytes))
    const pieces = Array.from({ length: count }, (_, at) => {
      const part = bytes.subarray(at * maxPieceBytes, (at + 1) * maxPieceBytes)
      return publish(subjectOf(id, kind, at + 1), Buffer.concat([Buffer.from(version), part]))
    })
    await Promise.all(pieces)
    const head = Buffer.from(version + JSON.stringify({ pieces: count }))
    await publish(subjectOf(id, kind, 0), head)
  }

  const publish = (subject: string, data: Uint8Array) => bus.publisher.publish(subject, data, {})

  async function read(subject: string): Promise<Buffer | null> {
    try {
      const msg = await bus.jsm.direct.getMessage(records.name, { last_by_subj: subject })
      return msg === null ? null : Buffer.from(msg.data)
    } catch (cause) {
      const message = 'The stored responses cannot be read at the moment. Try again.'
      throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
    }
  }

  async function readOnce(id: string, kind: Kind): Promise<unknown> {
    const head = await read(subjectOf(id, kind, 0))
    if (head === null) return null
    const version = head.toString('latin1', 0, versionLength)
    const { pieces } = firstPiece.parse(JSON.parse(head.toString('utf8', versionLength)))
    const parts: Buffer[] = []
    for (let piece = 1; piece <= pieces; piece++) {
      const part = await read(subjectOf(id, kind, piece))
      if (part?.toString('latin1', 0, versionLength) !== version) return undefined
      parts.push(part.subarray(versionLength))
    }
    return JSON.parse(Buffer.concat(parts).toString('utf8'))
  }

  /** Null: there is none, or not all of it any more. */
  async function find(id: string, kind: Kind): Promise<unknown> {
    await onTheirWay.get(id)
    for (let reads = 0; reads < maxReads; reads++) {
      const found = await readOnce(id, kind)
      if (found !== undefined) return found
    }
    return null
  }

  const purge = async (stream: string, filter: string) => {
    try {
      await bus.jsm.streams.purge(stream, { filter })
    } catch (cause) {
      const message = 'The stored response could not be deleted. Try again.'
      throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
    }
  }

  return {
    put,
    putSoon(id, value, onFailure) {
      const way = put(id, 'record', value)
        .catch(onFailure)
        .finally(() => onTheirWay.delete(id))
      onTheirWay.set(id, way)
    },
    async get(id, owner) {
      if (!isResponseId(id)) return null
      const found = storedResponse.nullable().parse(await find(id, 'record'))
      return found?.owner === owner ? found : null
    },
    job: (id) => find(id, 'job'),
    removeJob: (id) => purge(records.name, subjectOf(id, 'job', '*')),
    async remove(id) {
      await purge(records.name, `${records.root}.${id}.>`)
      await purge(events.name, `${events.root}.${id}`)
    },
  }
}

// Idempotency keys in NATS, for a day: in a KV bucket who runs, or ran, the first request of a key; in an
// object store what it was answered. Both are made when the first key comes, and bounded.
import { StorageType } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { createBlobStore } from '@penstock/shared/bus/blob-store'
import type { Bus } from '@penstock/shared/bus/connect'
import { onDemand } from '@penstock/shared/bus/on-demand'
import { errorCode } from '@penstock/shared/bus/streams'
import { z } from 'zod'

export const keepMs = 24 * 60 * 60_000
/** About half a million keys a day; a bucket that is full takes no further one. */
const maxKeyBytes = 256 * 1024 * 1024
const maxAnswerBytes = 1024 * 1024 * 1024
/** JetStream's "wrong last sequence": somebody else wrote it first. */
const wrongLastSequence = 10_071

export const idempotencyRecord = z.object({
  /** Of the request: a repeat has the same. */
  fingerprint: z.string(),
  gatewayId: z.string(),
  /** `lost`: it ended, and its answer could not be kept. */
  state: z.enum(['running', 'done', 'lost']),
  /** Of the claim: by it a gateway knows one that it had made without hearing so. */
  claim: z.string().optional(),
})
export type IdempotencyRecord = z.output<typeof idempotencyRecord>

export interface IdempotencyStore {
  /** False: there is one already. Throws where NATS does not answer, as do all of these. */
  create(id: string, record: IdempotencyRecord): Promise<boolean>
  get(id: string): Promise<{ record: IdempotencyRecord; revision: number } | null>
  /** False: it was changed since that revision. */
  update(id: string, record: IdempotencyRecord, revision: number): Promise<boolean>
  set(id: string, record: IdempotencyRecord): Promise<void>
  forget(id: string): Promise<void>
  putAnswer(id: string, answer: Uint8Array): Promise<void>
  getAnswer(id: string): Promise<Uint8Array | null>
}

export function createIdempotencyStore(bus: Bus): IdempotencyStore {
  const bucket = 'penstock-idempotent-answers'
  const answers = createBlobStore(bus, { bucket, maxBytes: maxAnswerBytes, ttlMs: keepMs })
  const keys = onDemand(bus, () =>
    new Kvm(bus.js).create('penstock-idempotency', {
      ttl: keepMs,
      max_bytes: maxKeyBytes,
      storage: StorageType.File,
      history: 1,
      // A repeat at another gateway must not read what a replica has not heard of yet.
      allow_direct: false,
    }),
  )
  const unlessTaken = async (write: Promise<unknown>): Promise<boolean> => {
    try {
      await write
      return true
    } catch (cause) {
      if (errorCode(cause) === wrongLastSequence) return false
      throw cause
    }
  }

  return {
    async create(id, record) {
      const bucket = await keys()
      return await unlessTaken(bucket.create(id, JSON.stringify(record)))
    },
    async get(id) {
      const entry = await (await keys()).get(id)
      if (entry === null || entry.operation !== 'PUT') return null
      return { record: idempotencyRecord.parse(entry.json()), revision: entry.revision }
    },
    async update(id, record, revision) {
      const bucket = await keys()
      return await unlessTaken(bucket.update(id, JSON.stringify(record), revision))
    },
    async set(id, record) {
      await (await keys()).put(id, JSON.stringify(record))
    },
    async forget(id) {
      await (await keys()).purge(id)
    },
    putAnswer: answers.put,
    getAnswer: answers.get,
  }
}

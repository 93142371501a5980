// A bounded bucket of blobs in JetStream's object store, made when it is first used.
import { StorageType } from '@nats-io/jetstream'
import { Objm } from '@nats-io/obj'
import { nanos } from '@nats-io/transport-node'
import type { Bus } from './connect.ts'
import { onDemand } from './on-demand.ts'
import { readBlob } from './read-blob.ts'

export interface BlobStore {
  /** @throws Error where NATS does not take it; a full bucket takes nothing */
  put(name: string, blob: Uint8Array): Promise<void>
  /** Null: there is none, or not any more. @throws Error where NATS does not answer */
  get(name: string, signal?: AbortSignal): Promise<Uint8Array | null>
  /** @throws Error where NATS does not answer */
  remove(name: string): Promise<void>
  /** Makes the bucket now. @throws Error where NATS does not answer */
  open(): Promise<void>
}

export interface BlobStoreSpec {
  bucket: string
  maxBytes: number
  /** How long a blob is kept, in milliseconds. */
  ttlMs: number
}

export function createBlobStore(
  bus: Pick<Bus, 'js' | 'onStoreLost'>,
  { bucket, maxBytes, ttlMs }: BlobStoreSpec,
): BlobStore {
  const store = onDemand(bus, () =>
    new Objm(bus.js).create(bucket, {
      storage: StorageType.File,
      max_bytes: maxBytes,
      ttl: nanos(ttlMs),
    }),
  )
  return {
    async put(name, blob) {
      await (await store()).putBlob({ name, options: { max_chunk_size: 512 * 1024 } }, blob)
    },
    get: async (name, signal) => await readBlob(await store(), name, { signal }),
    async remove(name) {
      await (await store()).delete(name)
    },
    async open() {
      await store()
    },
  }
}

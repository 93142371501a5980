// Bodies larger than a NATS message may be (1 MB by default) wait in JetStream's object store; the
// message carries the claim. The gateway deletes a claim when its request ends, the store's TTL
// the ones that a crash left behind.
import { StorageType } from '@nats-io/jetstream'
import { type ObjectStore, Objm } from '@nats-io/obj'
import { nanos } from '@nats-io/transport-node'
import { claimStore } from '../contracts/channels.ts'
import { PenstockError } from '../contracts/errors.ts'
import type { Bus } from './connect.ts'
import { readBlob } from './read-blob.ts'

export interface ClaimCheck {
  /** The largest body that travels inside its message, in bytes. */
  readonly inlineLimit: number
  /** @throws PenstockError `service_unavailable` if the store does not take it. */
  put(claim: string, body: Uint8Array): Promise<void>
  /** @throws PenstockError `service_unavailable` if the claim is gone. */
  get(claim: string): Promise<Uint8Array>
  /** Never throws: what stays behind falls to the TTL. */
  remove(claim: string): Promise<void>
}

/** Left free in each message for the envelope and NATS's headers, in bytes. */
const envelopeRoom = 64 * 1024

export async function openClaimCheck(bus: Bus): Promise<ClaimCheck> {
  let opened: Promise<ObjectStore> | null = null
  const store = async () => {
    opened ??= new Objm(bus.js).create(claimStore.bucket, {
      storage: StorageType.File,
      max_bytes: claimStore.maxBytes,
      ttl: nanos(claimStore.ttlMs),
    })
    try {
      return await opened
    } catch (cause) {
      // The next one tries again: NATS may have been on its way down.
      opened = null
      throw cause
    }
  }
  await store()
  bus.onStoreLost(() => {
    opened = null
  })
  return {
    inlineLimit: (bus.nc.info?.max_payload ?? 1024 * 1024) - envelopeRoom,
    async put(claim, body) {
      try {
        await (await store()).putBlob(
          { name: claim, options: { max_chunk_size: 512 * 1024 } },
          body,
        )
      } catch (cause) {
        throw new PenstockError('service_unavailable', 'The body could not be queued.', { cause })
      }
    },
    async get(claim) {
      const body = await store()
        .then((opened) => readBlob(opened, claim))
        .catch(() => null)
      if (body === null) {
        throw new PenstockError('service_unavailable', 'The queued body is no longer there.')
      }
      return body
    },
    async remove(claim) {
      await store()
        .then((opened) => opened.delete(claim))
        .catch(() => undefined)
    },
  }
}

// Bodies larger than a NATS message may be (1 MB by default) wait in JetStream's object store; the
// message carries the claim. The gateway deletes a claim when its request ends, the store's TTL
// the ones that a crash left behind.
import { claimStore } from '../contracts/channels.ts'
import { PenstockError } from '../contracts/errors.ts'
import { createBlobStore } from './blob-store.ts'
import type { Bus } from './connect.ts'

export interface ClaimCheck {
  /** The largest body that travels inside its message, in bytes. */
  readonly inlineLimit: number
  /** @throws PenstockError `service_unavailable` if the store does not take it. */
  put(claim: string, body: Uint8Array): Promise<void>
  /**
   * @param signal aborted: the body is wanted no longer
   * @throws PenstockError `service_unavailable` if the claim is gone.
   */
  get(claim: string, signal?: AbortSignal): Promise<Uint8Array>
  /** Never throws: what stays behind falls to the TTL. */
  remove(claim: string): Promise<void>
}

/** Left free in each message for the envelope and NATS's headers, in bytes. */
const envelopeRoom = 64 * 1024

export async function openClaimCheck(bus: Bus): Promise<ClaimCheck> {
  const store = createBlobStore(bus, claimStore)
  await store.open()
  return {
    inlineLimit: (bus.nc.info?.max_payload ?? 1024 * 1024) - envelopeRoom,
    async put(claim, body) {
      try {
        await store.put(claim, body)
      } catch (cause) {
        throw new PenstockError('service_unavailable', 'The body could not be queued.', { cause })
      }
    },
    async get(claim, signal) {
      const body = await store.get(claim, signal).catch(() => null)
      if (body === null) {
        throw new PenstockError('service_unavailable', 'The queued body is no longer there.')
      }
      return body
    },
    async remove(claim) {
      await store.remove(claim).catch(() => undefined)
    },
  }
}

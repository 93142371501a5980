// Sessions whose data must stay local. Once a request of a session demanded it, every later one is
// held to it, through whichever gateway it comes: the mark lives in NATS KV, as a hash.
import { createHash } from 'node:crypto'
import { StorageType } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import type { Bus } from '@penstock/shared/bus/connect'
import { onDemand } from '@penstock/shared/bus/on-demand'
import { PenstockError } from '@penstock/shared/contracts/errors'

export interface LocalSessions {
  /**
   * @param demanded this request itself demands local: marks the session
   * @returns whether the request must stay local
   * @throws PenstockError `service_unavailable` when the mark cannot be stored: served without it, the
   *   session's next request could leave
   */
  hold(sessionId: string, demanded: boolean): Promise<boolean>
}

function refuse(cause: unknown): never {
  const message = 'The session could not be marked as local. Try again.'
  throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
}

/** Room for well over a million marks; a bucket that is full takes no further one. */
const maxBytes = 256 * 1024 * 1024
const keepMs = 90 * 24 * 60 * 60_000

export async function openLocalSessions(bus: Bus): Promise<LocalSessions> {
  const marks = onDemand(bus, () =>
    new Kvm(bus.js).create('penstock-local-sessions', {
      ttl: keepMs,
      max_bytes: maxBytes,
      storage: StorageType.File,
      history: 1,
    }),
  )
  await marks()
  return {
    async hold(sessionId, demanded) {
      const key = createHash('sha256').update(sessionId).digest('hex')
      if (demanded) {
        await marks()
          .then((kv) => kv.put(key, 'local'))
          .catch(refuse)
        return true
      }
      try {
        return (await (await marks()).get(key)) !== null
      } catch {
        // Whether it was marked cannot be known now: the data stays in the house.
        return true
      }
    },
  }
}

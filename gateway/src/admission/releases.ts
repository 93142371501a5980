// Tells billing of requests that ended without a usage event to settle them: through the USAGE stream,
// and so behind whatever usage they have. At least once; what cannot be told expires with its lease.
import type { Bus } from '@penstock/shared/bus/connect'
import type { ReservationRelease } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'

export interface Releases {
  /** @param within milliseconds that a usage event on its way still has */
  release(requestId: string, within: number): void
  /** Resolves when all are told, or after a second. */
  close(): Promise<void>
}

const maxBacklog = 10_000
const retryMs = 1_000
const closeMs = 1_000

export function createReleases(bus: Pick<Bus, 'publisher' | 'connected'>, log: Logger): Releases {
  /** Not told yet. */
  const backlog = new Map<string, number>()
  /** Of those, the ones that are on their way: a second message would only pile up behind the first. */
  const underWay = new Map<string, Promise<void>>()
  let dropped = 0

  async function publish(requestId: string, within: number): Promise<void> {
    const message: ReservationRelease = { released: { requestId, within } }
    const data = Buffer.from(JSON.stringify(message))
    try {
      const msgId = `${requestId}:release`
      await bus.publisher.publish(channels.usage.subject(), data, { msgId })
      backlog.delete(requestId)
    } catch {
      // Stays in the backlog.
    } finally {
      underWay.delete(requestId)
    }
  }

  async function tell(requestId: string, within: number): Promise<void> {
    // Without a connection the client library keeps whatever it is given, without a bound.
    if (!bus.connected) return
    const telling = underWay.get(requestId) ?? publish(requestId, within)
    underWay.set(requestId, telling)
    await telling
  }

  const tellAll = () => Promise.all([...backlog].map(([id, within]) => tell(id, within)))
  const retry = setInterval(() => {
    if (backlog.size > 0) void tellAll()
    if (dropped > 0) log.warn({ dropped }, 'reservations are left to expire: too many to tell of')
    dropped = 0
  }, retryMs)
  retry.unref()

  return {
    release(requestId, within) {
      const [oldest] = backlog.keys()
      if (backlog.size >= maxBacklog && oldest !== undefined) {
        backlog.delete(oldest)
        dropped += 1
      }
      backlog.set(requestId, within)
      void tell(requestId, within)
    },
    async close() {
      clearInterval(retry)
      const enough = new Promise((resolve) => setTimeout(resolve, closeMs).unref())
      await Promise.race([tellAll(), enough])
    },
  }
}

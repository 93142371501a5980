// Every service says each second that it lives and what it lacks; gateways listen, and readiness
// answers from what they heard last.
import type { Logger } from 'pino'
import { channels } from '../contracts/channels.ts'
import type { ServiceHeartbeat } from '../contracts/fleet.ts'
import { broadcast, listen } from './broadcast.ts'
import type { Bus } from './connect.ts'
import { createHearing } from './hearing.ts'

export const heartbeatMs = 1_000
/** A process that was not heard of for this long counts as gone, in milliseconds. */
export const heartbeatLostMs = 3_500

/** @returns stop */
export function startHeartbeat(
  bus: Bus,
  service: ServiceHeartbeat['service'],
  id: string,
  problems: () => string[],
): () => void {
  const beat = () => broadcast(bus, channels.alive, { service, id, problems: problems() })
  beat()
  const timer = setInterval(beat, heartbeatMs)
  return () => clearInterval(timer)
}

export interface ServicesView {
  /** False: nobody at all is heard of, this process neither. */
  readonly hears: boolean
  /** The living instances of a service. */
  living(service: ServiceHeartbeat['service']): ServiceHeartbeat[]
  /** True if this instance would have been heard of, were it alive. */
  isLost(service: ServiceHeartbeat['service'], id: string): boolean
  close(): void
}

export function watchServices(bus: Bus, log: Logger, now: () => number = Date.now): ServicesView {
  const seen = new Map<string, { beat: ServiceHeartbeat; at: number }>()
  // Nothing can be said of anyone right after the start, or after a time in which nobody was heard.
  const hearing = createHearing(now)
  bus.onReconnect(hearing.reconnected)
  const sub = listen(bus, log, channels.alive, (beat) => {
    hearing.heard()
    seen.set(`${beat.service}/${beat.id}`, { beat, at: now() })
  })
  return {
    get hears() {
      return hearing.since() !== null
    },
    living(service) {
      const living: ServiceHeartbeat[] = []
      for (const [key, { beat, at }] of seen) {
        if (now() - at > heartbeatLostMs) seen.delete(key)
        else if (beat.service === service) living.push(beat)
      }
      return living
    },
    isLost(service, id) {
      const at = seen.get(`${service}/${id}`)?.at ?? 0
      const since = hearing.since()
      return bus.connected && since !== null && now() - Math.max(at, since) > heartbeatLostMs
    },
    close: () => sub.unsubscribe(),
  }
}

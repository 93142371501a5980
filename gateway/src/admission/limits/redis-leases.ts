// The leases that requests of this gateway have in Redis: renewed while they run, and given back once
// more where it is not known whether Redis has heard of their end. All else expires by itself.
import type { Redis } from 'ioredis'

export const leaseMs = 30_000
const renewMs = 10_000
/** Leases renewed in one command. */
const renewedAtOnce = 200
/** Of requests; of more, the oldest are left to expire. */
const maxOwed = 10_000

export interface RedisLeases {
  /** `until`: epoch milliseconds when nothing of the request can run any longer. */
  hold(requestId: string, keys: string[], until: number): void
  /** It has ended: not renewed any more. */
  drop(requestId: string): void
  /** It has ended, but Redis may not know: given back as soon as it answers. */
  owe(requestId: string, keys: string[]): void
  /** Redis answers again: renews what is held, gives back what is owed. */
  catchUp(): void
  close(): void
}

interface Leases {
  keys: string[]
  /** Epoch milliseconds. */
  until: number
}

export interface RedisLeasesOptions {
  redis: Redis
  /** Whether Redis answers. */
  isUp(): boolean
  lost(cause: unknown): void
  /** Epoch milliseconds. */
  clock(): number
  /** What the scripts are to take for the time; 0: the server's. */
  now(): number
}

export function createRedisLeases(options: RedisLeasesOptions): RedisLeases {
  const { redis, isUp, lost, clock, now } = options
  /** By request id, both. */
  const held = new Map<string, Leases>()
  const owed = new Map<string, Leases>()

  /** All leases that are held here, whether or not Redis has kept them. */
  function renew(): void {
    const all = [...held].flatMap(([id, { keys }]) => keys.map((key) => ({ id, key })))
    for (let from = 0; from < all.length; from += renewedAtOnce) {
      const some = all.slice(from, from + renewedAtOnce)
      const keys = some.map(({ key }) => key)
      const ids = some.map(({ id }) => id)
      redis.penstockRenew(keys.length, ...keys, now(), leaseMs, ...ids).catch(lost)
    }
  }

  function owe(requestId: string, keys: string[]): void {
    if (keys.length > 0) remember(requestId, { keys, until: clock() + leaseMs })
  }

  function remember(requestId: string, leases: Leases): void {
    owed.set(requestId, leases)
    for (const oldest of owed.keys()) {
      if (owed.size <= maxOwed) break
      owed.delete(oldest)
    }
  }

  function giveBack(): void {
    const all = [...owed]
    owed.clear()
    for (const [id, leases] of all) {
      Promise.all(leases.keys.map((key) => redis.zrem(key, id))).catch(() => {
        // Of a lost connection its end tells. A Redis that answers and refuses (a replica) is not lost
        // for it: asked again with each of its answers, that would never end.
        if (!owed.has(id)) remember(id, leases)
      })
    }
  }

  const renewal = setInterval(() => {
    // Whoever did not give it back by then never will; and what is owed has expired.
    for (const leases of [held, owed]) {
      for (const [id, { until }] of leases) if (until <= clock()) leases.delete(id)
    }
    if (isUp()) renew()
  }, renewMs)
  renewal.unref()

  return {
    hold: (requestId, keys, until) => held.set(requestId, { keys, until }),
    drop: (requestId) => held.delete(requestId),
    owe,
    catchUp() {
      giveBack()
      renew()
    },
    close: () => clearInterval(renewal),
  }
}

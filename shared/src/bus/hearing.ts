// Whether this process hears anybody: it may have been stopped for seconds itself, or the network or
// NATS stood still without a connection breaking. Such silence says nothing of who was not heard of.
//
// Heartbeats come each second, this process's own among them: they too go by way of NATS.

/** Two beats missed, and some; below the time after which one that was not heard of counts as lost. */
const deafMs = 2_200

export interface Hearing {
  /** A heartbeat, of whichever process. */
  heard(): void
  /** What was said meanwhile is gone. */
  reconnected(): void
  /** Epoch milliseconds from which on nothing was missed; null: nobody is heard now. */
  since(): number | null
}

export function createHearing(now: () => number): Hearing {
  let since = now()
  let heardAt = since
  return {
    heard() {
      const at = now()
      if (at - heardAt > deafMs) since = at
      heardAt = at
    },
    reconnected() {
      since = now()
      heardAt = since
    },
    since: () => (now() - heardAt > deafMs ? null : since),
  }
}

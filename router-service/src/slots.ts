// Which slots are taken, as far as this router knows: what it handed over, less what workers report
// as released. Reports can be lost, so each worker also says once a second what it really runs.
import type { JobOutcome, SlotReport } from '@penstock/shared/contracts/channels'

export interface Holder {
  deploymentId: string
  requestId: string
  /** The length of the request's history when it was routed: tells its attempts apart. */
  hop: number
  since: number
  /** When a report last named it. */
  seenAt: number
  /** The worker that reported it; null: handed over, but in no report yet. */
  worker: string | null
}

export interface Slots {
  inUse(deploymentId: string): number
  /** The request stands in WORK already, or runs: a copy of its message must not be routed again. */
  holds(requestId: string, hop: number): boolean
  take(deploymentId: string, requestId: string, hop: number): void
  release(deploymentId: string, requestId: string, hop: number): void
  /** Applies a worker's report; calls `onFreed` for each slot that became free. */
  apply(report: SlotReport, onFreed: (holder: Holder, outcome: JobOutcome | null) => void): void
}

/** A job handed over this recently may not be in a worker's report yet, in milliseconds. */
const settleMs = 5_000
/** A holder that no worker named for this long is gone: its worker died, and nobody took over. */
const lostMs = 20_000

export function createSlots(now: () => number = Date.now): Slots {
  /**
   * By deployment and `request:hop`: where the end of an attempt was not heard of, its successor on the
   * same deployment must not take its place, or nobody would ever settle it.
   */
  const held = new Map<string, Map<string, Holder>>()
  /** `request:hop` of every holder: asked for each message, so it must not depend on their number. */
  const attempts = new Set<string>()

  const holders = (deploymentId: string) => {
    let map = held.get(deploymentId)
    if (map === undefined) {
      map = new Map()
      held.set(deploymentId, map)
    }
    return map
  }

  const keyOf = (requestId: string, hop: number) => `${requestId}:${hop}`
  const put = (holder: Holder) => {
    const key = keyOf(holder.requestId, holder.hop)
    holders(holder.deploymentId).set(key, holder)
    attempts.add(key)
  }
  const drop = (deploymentId: string, requestId: string, hop: number) => {
    const key = keyOf(requestId, hop)
    if (held.get(deploymentId)?.delete(key)) attempts.delete(key)
  }

  return {
    inUse: (deploymentId) => held.get(deploymentId)?.size ?? 0,
    holds: (requestId, hop) => attempts.has(keyOf(requestId, hop)),
    take(deploymentId, requestId, hop) {
      const since = now()
      put({ deploymentId, requestId, hop, since, seenAt: since, worker: null })
    },
    release: drop,
    apply({ workerId, released, running }, onFreed) {
      for (const { deploymentId, requestId, hop, outcome } of released) {
        const holder = held.get(deploymentId)?.get(keyOf(requestId, hop))
        if (holder === undefined) continue
        drop(deploymentId, requestId, hop)
        onFreed(holder, outcome)
      }
      if (running === null) return
      const nameOf = (deploymentId: string, key: string) => `${deploymentId}/${key}`
      const reported = new Set(
        running.map((one) => nameOf(one.deploymentId, keyOf(one.requestId, one.hop))),
      )
      // Jobs that another router handed over, or this one before it was restarted.
      for (const { deploymentId, requestId, hop } of running) {
        const known = held.get(deploymentId)?.get(keyOf(requestId, hop))
        const seenAt = now()
        const since = known?.since ?? seenAt
        put({ deploymentId, requestId, hop, since, seenAt, worker: workerId })
      }
      for (const [deploymentId, map] of held) {
        for (const [key, holder] of map) {
          if (reported.has(nameOf(deploymentId, key))) continue
          const mine = holder.worker === workerId || holder.worker === null
          const gone = mine && now() - holder.since >= settleMs
          if (!gone && now() - holder.seenAt < lostMs) continue
          drop(deploymentId, holder.requestId, holder.hop)
          onFreed(holder, null)
        }
      }
    },
  }
}

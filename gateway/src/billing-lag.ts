// How far billing is behind: what waits in the USAGE stream, asked of NATS itself, so that it is known
// when no billing service lives at all.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '@penstock/shared/bus/connect'
import { streams } from '@penstock/shared/contracts/channels'

export interface BillingLag {
  /** Messages that are not in the ledger yet; a worker puts one event or a few into each. */
  messages: number
  /** How long the oldest of them has waited; 0 where none waits. */
  oldestMs: number
}

/** A scrape waits no longer for it, in milliseconds. */
const patienceMs = 1_000

/** Null where NATS does not answer in time. */
export async function billingLag(
  bus: Pick<Bus, 'jsm'>,
  now: () => number = Date.now,
): Promise<BillingLag | null> {
  const answered = new AbortController()
  const tooLate = sleep(patienceMs, null, { signal: answered.signal }).catch(() => null)
  try {
    const info = await Promise.race([bus.jsm.streams.info(streams.usage.name), tooLate])
    if (info === null) return null
    const { messages, first_ts } = info.state
    const oldestMs = messages === 0 ? 0 : Math.max(0, now() - Date.parse(first_ts))
    return { messages, oldestMs }
  } catch {
    return null
  } finally {
    answered.abort()
  }
}

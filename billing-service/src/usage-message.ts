// One message of USAGE → its events, or the release that it is. A bad event does not take its
// neighbours with it, and what is neither is handed back with a reason that quotes nothing of it.
import { type ReservationRelease, reservationRelease } from '@penstock/shared/contracts/budget'
import { type UsageEvent, usageBatch, usageEvent } from '@penstock/shared/contracts/usage'
import type { z } from 'zod'
import { isStorable } from './usage-row.ts'

export interface Reject {
  /** Where it is wrong and how, without the values: they may be anything. */
  reason: string
  payload: Uint8Array
}

export type Release = ReservationRelease['released']

export interface UsageMessage {
  events: UsageEvent[]
  releases: Release[]
  rejects: Reject[]
}

/** No lease is longer, in milliseconds; and so far a moment can be reckoned with. */
const maxWithinMs = 24 * 60 * 60_000

const nothing: UsageMessage = { events: [], releases: [], rejects: [] }

export function readUsageMessage(data: Uint8Array): UsageMessage {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8'))
  } catch {
    return { ...nothing, rejects: [{ reason: 'not JSON', payload: data }] }
  }
  const whole = usageBatch.safeParse(json)
  if (whole.success) return { ...nothing, events: whole.data }
  if (!Array.isArray(json) || json.length === 0) return readRelease(json, data)
  const events: UsageEvent[] = []
  const rejects: Reject[] = []
  for (const element of json) {
    const one = usageEvent.safeParse(element)
    if (one.success) events.push(one.data)
    else rejects.push({ reason: reasonOf(one.error), payload: bytesOf(element) })
  }
  return { ...nothing, events, rejects }
}

function readRelease(json: unknown, data: Uint8Array): UsageMessage {
  const parsed = reservationRelease.safeParse(json)
  if (!parsed.success) {
    return { ...nothing, rejects: [{ reason: 'not a list of events', payload: data }] }
  }
  const { released } = parsed.data
  // Such a request cannot have reserved anything.
  if (!isStorable(released.requestId)) {
    return { ...nothing, rejects: [{ reason: 'request id is not storable', payload: data }] }
  }
  const within = Math.min(released.within, maxWithinMs)
  return { ...nothing, releases: [{ ...released, within }] }
}

/** An event that parsed but could not be recorded, to be set aside. */
export function rejectOf(event: UsageEvent, reason: string): Reject {
  return { reason, payload: bytesOf(event) }
}

/** Names at most three of the faults. */
function reasonOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.map(String).join('.')}: ${issue.code}`)
    .join(', ')
}

function bytesOf(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

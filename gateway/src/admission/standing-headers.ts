// What a client is told of its limits and its money: OpenAI's rate limit headers, and the cost of the
// answer and the standing of the key, whose names answer.ts completes.
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { upstreamModelFor } from '@penstock/shared/config/resolve-group'
import { type Amount, dollarText } from '@penstock/shared/pricing/money'
import { priceUsage } from '@penstock/shared/pricing/price'
import type { RateStanding } from './limits/limiter.ts'

export type Headers = [name: string, value: string][]

/** Of a key in its budget period. */
export interface KeyStanding {
  spent: Amount
  /** Null: without a limit. */
  limit: Amount | null
}

/** `x-ratelimit-…` as OpenAI sends them. */
export function rateHeaders(standing: RateStanding): Headers {
  return (['requests', 'tokens'] as const).flatMap((kind): Headers => {
    const allowance = standing[kind]
    if (allowance === null) return []
    const { limit, remaining, resetMs } = allowance
    return [
      [`x-ratelimit-limit-${kind}`, String(limit)],
      [`x-ratelimit-remaining-${kind}`, String(remaining)],
      [`x-ratelimit-reset-${kind}`, resetMs < 1_000 ? `${resetMs}ms` : `${resetMs / 1_000}s`],
    ]
  })
}

/** What the ledger will say of the answer; null where nothing names a price. */
export function costOfAnswer(
  fleet: Pick<FleetView, 'deployments'>,
  head: FrameHead,
  { usage, startedAt, endedAt }: FrameEnd,
  model: string,
): Amount | null {
  const info = fleet.deployments.get(head.deploymentId)
  if (info === undefined) return null
  const { prices, priceRef } = info
  const named =
    priceRef === null
      ? null
      : { ...priceRef, model: upstreamModelFor(priceRef.model, head.group, model) }
  const call = { prices, priceRef: named, usage, status: 'success' as const, startedAt, endedAt }
  const { amount, source } = priceUsage(call)
  return source === 'unpriced' ? null : amount
}

/** @param cost of this answer, where it is known already: the key has spent it by now */
export function moneyHeaders(cost: Amount | null, key: KeyStanding | null): Headers {
  const headers: Headers = cost === null ? [] : [['response-cost', dollarText(cost)]]
  if (key === null) return headers
  const spent = key.spent + (cost ?? 0n)
  headers.push(['key-spend', dollarText(spent)])
  if (key.limit !== null) {
    headers.push(['key-remaining', dollarText(key.limit > spent ? key.limit - spent : 0n)])
  }
  return headers
}

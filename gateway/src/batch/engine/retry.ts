// What becomes of a line after a failure. Pure.
import { type ErrorCode, type ErrorInfo, errorKinds } from '@penstock/shared/contracts/errors'

export interface RetryPolicy {
  /** Asked so often at most before it is dead. */
  attempts: number
  /** The first pause, in milliseconds; doubled each time. */
  pauseMs: number
}

export const defaultRetry: RetryPolicy = { attempts: 5, pauseMs: 500 }

/**
 * `again`: after the pause; `counted`: the attempt was one of those that the policy allows.
 * `hold`: no line of the batch has a chance before that, in milliseconds. `fail`: `dead` where only the
 * attempts were used up.
 */
export type Verdict =
  | { kind: 'again'; pauseMs: number; counted: boolean }
  | { kind: 'hold'; ms: number }
  | { kind: 'fail'; dead: boolean }

/**
 * Not the line's fault, nor an upstream's: there is no room now, or nobody to serve it. A batch has
 * time; it goes on trying for as long as its completion window lasts.
 */
const congestion: readonly ErrorCode[] = [
  'rate_limited',
  'queue_full',
  'queue_timeout',
  'deadline_exceeded',
  'no_deployment_available',
  'service_unavailable',
]
const maxPauseMs = 30_000
/** A budget that is only reserved by others under way is free again within moments. */
const reservedMs = 5_000
const holdMs = 60_000
const maxHoldMs = 300_000

export interface Failure {
  error: ErrorInfo
  /** Counted ones, this one included, and all of them. */
  attempts: number
  tries: number
  waitsForBudget: boolean
}

export function afterFailure(failure: Failure, policy: RetryPolicy, random = Math.random): Verdict {
  const { error, attempts, tries } = failure
  const { code, retryAfterMs } = error
  const doubled = Math.min(maxPauseMs, policy.pauseMs * 2 ** Math.min(tries - 1, 16))
  const asked = Math.min(retryAfterMs ?? 0, maxPauseMs)
  const pauseMs = Math.max(doubled * (0.5 + random() / 2), asked)
  if (code === 'budget_exceeded') {
    const isReserved = retryAfterMs !== null && retryAfterMs <= reservedMs
    if (isReserved) return { kind: 'again', pauseMs, counted: false }
    if (!failure.waitsForBudget) return { kind: 'fail', dead: false }
    return { kind: 'hold', ms: Math.min(retryAfterMs ?? holdMs, maxHoldMs) }
  }
  if (congestion.includes(code)) return { kind: 'again', pauseMs, counted: false }
  if (errorKinds[code].retry === 'no') return { kind: 'fail', dead: false }
  if (attempts >= policy.attempts) return { kind: 'fail', dead: true }
  return { kind: 'again', pauseMs, counted: true }
}

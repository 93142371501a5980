// A circuit breaker per deployment: what fails is left alone for a while, and one call finds out
// whether it is back. The same for groups of a single deployment, where the requests wait meanwhile.
//
//            too many failures, or one that opens            pause over
//   closed ───────────────────────────────────────▶ open ───────────────▶ half-open
//     ▲                                              ▲                       │ one probe at a time
//     │              success of the probe            └── failure: pause × 2 ─┤
//     └──────────────────────────────────────────────────────────────────────┘
//
// Calls carry an id, because those begun before the breaker opened still end after it: only the
// probe's own end may close or reopen it, or a second probe would be sent out beside the first.
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import { createSlidingMinute, type SlidingMinute } from './sliding-minute.ts'
import { verdictOn } from './verdict.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

export interface BreakerOptions {
  /** Failures within a sliding minute that are tolerated. */
  allowedFails: number
  /** The first pause, in milliseconds, for deployments that set none. 0: never open. */
  cooldownMs: number
}

export interface BreakerReport {
  deploymentId: string
  state: BreakerState
  /** Of the last minute, since it last closed. */
  failures: number
  successes: number
  recoversAt: number | null
  /** How often it has opened, failed probes included. */
  openings: number
}

/** From this many calls in the minute on, their failure share decides, as in LiteLLM. */
const enoughCalls = 5
/** Below this share of failures a busy deployment stays closed: most of its calls succeed. */
const tolerableShare = 0.5
/** Doubling ends here; a longer cooldown of the config's own is kept. */
const longestPauseMs = 60_000
/** An upstream's Retry-After is honoured up to here; then a single probe asks again. */
const longestRetryAfterMs = 60 * 60_000
/** A probe of which nothing more is heard (a lost report) is given up after this. */
const probeLeaseMs = 10 * 60_000

interface Breaker {
  failures: SlidingMinute
  successes: SlidingMinute
  /** Epoch ms; null: closed. */
  openUntil: number | null
  pauseMs: number
  probe: { callId: string; until: number } | null
  openings: number
}

export interface Breakers {
  /** Closed, or half-open without a probe out. */
  allows(deploymentId: string): boolean
  /** A call is handed over; in half-open it becomes the probe. `callId`: of this attempt. */
  onStart(deploymentId: string, callId: string): void
  onSuccess(deploymentId: string, callId: string): void
  /** @param cooldownMs the deployment's own; null: that of the options. 0: it never opens. */
  onFailure(deploymentId: string, callId: string, error: ErrorInfo, cooldownMs: number | null): void
  /** It ended without a verdict: the client left, the hand-over failed. */
  onAbandoned(deploymentId: string, callId: string): void
  /**
   * Epoch ms at which it may allow a call; null where it does now. While a probe is out nobody
   * knows: then one pause from now, when it is worth asking again.
   */
  recoversAt(deploymentId: string): number | null
  state(deploymentId: string): BreakerState
  describe(): BreakerReport[]
  /** Drops every deployment that is not among those still there (a Set or Map of their ids). */
  forget(existing: { has(deploymentId: string): boolean }): void
}

/** @param now epoch milliseconds. */
export function createBreakers(options: BreakerOptions, now: () => number = Date.now): Breakers {
  /** Only those that have ended a call. */
  const breakers = new Map<string, Breaker>()

  function breakerOf(deploymentId: string): Breaker {
    const known = breakers.get(deploymentId)
    if (known !== undefined) return known
    const breaker = {
      failures: createSlidingMinute(now),
      successes: createSlidingMinute(now),
      openUntil: null,
      pauseMs: 0,
      probe: null,
      openings: 0,
    }
    breakers.set(deploymentId, breaker)
    return breaker
  }

  function stateOf({ openUntil }: Breaker): BreakerState {
    if (openUntil === null) return 'closed'
    return now() < openUntil ? 'open' : 'half-open'
  }

  const probeIsOut = ({ probe }: Breaker) => probe !== null && now() < probe.until

  const isProbe = (breaker: Breaker, callId: string) =>
    stateOf(breaker) === 'half-open' && breaker.probe?.callId === callId

  function recoversAt(breaker: Breaker): number | null {
    if (stateOf(breaker) === 'open') return breaker.openUntil
    return probeIsOut(breaker) ? now() + breaker.pauseMs : null
  }

  function open(breaker: Breaker, pauseMs: number, error: ErrorInfo): void {
    breaker.pauseMs = pauseMs
    breaker.openUntil = now() + (retryAfter(error) ?? pauseMs)
    breaker.probe = null
    breaker.openings++
  }

  function close(breaker: Breaker): void {
    breaker.openUntil = null
    breaker.probe = null
    breaker.failures = createSlidingMinute(now)
    breaker.successes = createSlidingMinute(now)
  }

  function hasFailedTooOften({ failures, successes }: Breaker): boolean {
    const failed = failures.total()
    const calls = failed + successes.total()
    const mostlySucceeds = calls >= enoughCalls && failed / calls < tolerableShare
    return failed > options.allowedFails && !mostlySucceeds
  }

  function onAbandoned(deploymentId: string, callId: string): void {
    const breaker = breakers.get(deploymentId)
    if (breaker?.probe?.callId === callId) breaker.probe = null
  }

  return {
    allows(deploymentId) {
      const breaker = breakers.get(deploymentId)
      return breaker === undefined || recoversAt(breaker) === null
    },
    onStart(deploymentId, callId) {
      const breaker = breakers.get(deploymentId)
      if (breaker === undefined || stateOf(breaker) !== 'half-open' || probeIsOut(breaker)) return
      breaker.probe = { callId, until: now() + probeLeaseMs }
    },
    onSuccess(deploymentId, callId) {
      const breaker = breakerOf(deploymentId)
      if (isProbe(breaker, callId)) close(breaker)
      breaker.successes.add(1)
    },
    onFailure(deploymentId, callId, error, cooldownMs) {
      const verdict = verdictOn(error)
      const pauseMs = cooldownMs ?? options.cooldownMs
      if (verdict === 'blameless' || pauseMs === 0) {
        onAbandoned(deploymentId, callId)
        return
      }
      const breaker = breakerOf(deploymentId)
      const state = stateOf(breaker)
      if (state === 'closed') {
        breaker.failures.add(1)
        if (verdict === 'opens' || hasFailedTooOften(breaker)) open(breaker, pauseMs, error)
      } else if (isProbe(breaker, callId)) {
        const longest = Math.max(longestPauseMs, pauseMs)
        open(breaker, Math.min(breaker.pauseMs * 2, longest), error)
      } else if (state === 'open' && breaker.openUntil !== null) {
        // Several calls are refused at once, each with its own Retry-After: the longest holds.
        breaker.openUntil = Math.max(breaker.openUntil, now() + (retryAfter(error) ?? 0))
      }
    },
    onAbandoned,
    recoversAt(deploymentId) {
      const breaker = breakers.get(deploymentId)
      return breaker === undefined ? null : recoversAt(breaker)
    },
    state(deploymentId) {
      const breaker = breakers.get(deploymentId)
      return breaker === undefined ? 'closed' : stateOf(breaker)
    },
    describe: () =>
      [...breakers].map(([deploymentId, breaker]) => ({
        deploymentId,
        state: stateOf(breaker),
        failures: breaker.failures.total(),
        successes: breaker.successes.total(),
        recoversAt: recoversAt(breaker),
        openings: breaker.openings,
      })),
    forget(existing) {
      for (const deploymentId of breakers.keys()) {
        if (!existing.has(deploymentId)) breakers.delete(deploymentId)
      }
    },
  }
}

/** Of a rate limit only, in milliseconds; null where the upstream named none. */
function retryAfter({ code, retryAfterMs }: ErrorInfo): number | null {
  if (code !== 'upstream_rate_limited' || retryAfterMs === null || retryAfterMs === 0) return null
  return Math.min(retryAfterMs, longestRetryAfterMs)
}

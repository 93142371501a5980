// What counts requests, tokens and what runs at the same time. A request is counted in all of its
// scopes or, if one of them refuses it, in none.
//
// Guaranteed: no 60 seconds hold more requests than the limit, whenever they begin. A token limit
// lets no request begin while the tokens that are known leave no room for its prompt; what it
// generates is known at its end. A lease that is never given back expires.
import type { Scope } from './scope.ts'

export interface LimitQuestion {
  requestId: string
  /** At least one. */
  scopes: readonly Scope[]
  /** Rough size of the prompt, charged until it is known what the request took. */
  tokens: number
  /** Milliseconds after which nothing of the request can still run. */
  lastsMs: number
}

/** `tokens` and `requests` per minute, `parallel` at the same time. */
export type LimitKind = 'requests' | 'tokens' | 'parallel'

export interface Allowance {
  limit: number
  remaining: number
  /** Until nothing is counted any more, in milliseconds. */
  resetMs: number
}

/** The narrowest of all scopes; null where none has such a limit. */
export interface RateStanding {
  requests: Allowance | null
  tokens: Allowance | null
}

export interface Refusal {
  scope: Scope
  kind: LimitKind
  /** Null: no wait helps, the prompt alone is above the limit. */
  retryAfterMs: number | null
}

export interface Verdict {
  /** Null: it may run. */
  refusal: Refusal | null
  standing: RateStanding
  /**
   * One of the two is to be called, once, if it may run. Both give its leases back; `settle` counts
   * the tokens that it truly took (null: as estimated), `undo` makes it as if it had never come.
   */
  settle(tokens: number | null): void
  undo(): void
}

export interface Limiter {
  /** @throws PenstockError (its promise) `service_unavailable` where nobody can count */
  take(question: LimitQuestion): Verdict | Promise<Verdict>
  /** Why a request with limits would be refused now, as readiness names it. */
  problems(): string[]
  close(): Promise<void>
}

const nothing = () => {}

export function refused(refusal: Refusal, standing: RateStanding): Verdict {
  return { refusal, standing, settle: nothing, undo: nothing }
}

/** The limit of a kind, if the scope has one. */
export function limitOf({ limits }: Scope, kind: LimitKind): number | null {
  if (kind === 'requests') return limits.rpm
  return kind === 'tokens' ? limits.tpm : limits.maxParallel
}

/** What a scope has counted, from which its allowances follow. */
export interface Counted {
  requests: number
  tokens: number
  resetMs: number
}

/** @param counted of each scope, in the same order */
export function standingOf(scopes: readonly Scope[], counted: readonly Counted[]): RateStanding {
  const standing: RateStanding = { requests: null, tokens: null }
  for (const [index, scope] of scopes.entries()) {
    for (const kind of ['requests', 'tokens'] as const) {
      const limit = limitOf(scope, kind)
      const known = counted[index]
      if (limit === null || known === undefined) continue
      const remaining = Math.max(0, Math.floor(limit - known[kind]))
      const narrowest = standing[kind]
      if (narrowest !== null && narrowest.remaining <= remaining) continue
      standing[kind] = { limit, remaining, resetMs: known.resetMs }
    }
  }
  return standing
}

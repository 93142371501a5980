// The limits of one gateway, in its memory.
import {
  type Counted,
  type Limiter,
  type LimitQuestion,
  limitOf,
  type Refusal,
  refused,
  standingOf,
  type Verdict,
} from './limiter.ts'
import type { Scope } from './scope.ts'
import { SlidingWindow } from './sliding-window.ts'

interface State {
  window: SlidingWindow
  /** Request id → when its lease expires. */
  leases: Map<string, number>
}

/** Scopes that were used within the last minute. Beyond it the oldest ones start anew. */
const maxScopes = 50_000
const evictedAtOnce = 1_000
const sweepMs = 30_000
/** When something ends that runs cannot be known: soon. */
export const parallelRetryMs = 1_000

/** @param now milliseconds; by default a clock that is never set back */
export function createMemoryLimiter(now: () => number = steadyNow): Limiter {
  const states = new Map<string, State>()

  const sweep = setInterval(() => dropIdle(states, now()), sweepMs)
  sweep.unref()

  const stateOf = ({ id }: Scope, time: number): State => {
    let state = states.get(id)
    if (state === undefined) {
      if (states.size >= maxScopes) makeRoom(states, time)
      state = { window: new SlidingWindow(), leases: new Map() }
      states.set(id, state)
    }
    state.window.expire(time)
    return state
  }

  return {
    take(question) {
      const time = now()
      const { requestId, scopes, tokens, lastsMs } = question
      const found = scopes.map((scope) => stateOf(scope, time))
      const refusal = refusalOf(question, found, time)
      const countedNow = () => found.map(({ window }) => counted(window, time))
      if (refusal !== null) return refused(refusal, standingOf(scopes, countedNow()))
      const charged = found.map((state, index) => {
        if (scopes[index]?.limits.maxParallel !== null) state.leases.set(requestId, time + lastsMs)
        return { ...state, slot: state.window.charge(time, 1, tokens) }
      })
      const end = (correct: (window: SlidingWindow, slot: number) => void) => {
        for (const { window, leases, slot } of charged) {
          leases.delete(requestId)
          window.expire(now())
          correct(window, slot)
        }
      }
      return {
        refusal: null,
        standing: standingOf(scopes, countedNow()),
        settle: (took) =>
          end((window, slot) => window.correct(now(), slot, took === null ? 0 : took - tokens)),
        undo: () => end((window, slot) => window.undo(slot, tokens)),
      } satisfies Verdict
    },
    problems: () => [],
    async close() {
      clearInterval(sweep)
    },
  }
}

/** The longest wait of all limits that are in the way, or one that no wait helps against. */
function refusalOf(
  { scopes, tokens, requestId }: LimitQuestion,
  states: readonly State[],
  now: number,
): Refusal | null {
  let worst: Refusal | null = null
  const note = (refusal: Refusal) => {
    if (worst === null || waitOf(refusal) > waitOf(worst)) worst = refusal
  }
  for (const [index, scope] of scopes.entries()) {
    const state = states[index]
    if (state === undefined) continue
    for (const kind of ['requests', 'tokens'] as const) {
      const limit = limitOf(scope, kind)
      if (limit === null) continue
      const more = kind === 'requests' ? 1 : Math.max(1, tokens)
      const retryAfterMs = state.window.waitFor(kind, more, limit, now)
      if (retryAfterMs !== 0) note({ scope, kind, retryAfterMs })
    }
    const { maxParallel } = scope.limits
    if (maxParallel !== null && running(state, requestId, now) >= maxParallel) {
      note({ scope, kind: 'parallel', retryAfterMs: parallelRetryMs })
    }
  }
  return worst
}

function waitOf({ retryAfterMs }: Refusal): number {
  return retryAfterMs ?? Number.POSITIVE_INFINITY
}

/** Live leases of other requests. */
function running({ leases }: State, requestId: string, now: number): number {
  for (const [id, expiresAt] of leases) if (expiresAt <= now) leases.delete(id)
  return leases.has(requestId) ? leases.size - 1 : leases.size
}

function counted(window: SlidingWindow, now: number): Counted {
  const { requests, tokens } = window
  return { requests, tokens, resetMs: window.resetMs(now) }
}

function dropIdle(states: Map<string, State>, now: number): void {
  for (const [id, state] of states) {
    state.window.expire(now)
    if (state.window.isEmpty && running(state, '', now) === 0) states.delete(id)
  }
}

function makeRoom(states: Map<string, State>, now: number): void {
  dropIdle(states, now)
  if (states.size < maxScopes) return
  for (const id of [...states.keys()].slice(0, evictedAtOnce)) states.delete(id)
}

function steadyNow(): number {
  return performance.timeOrigin + performance.now()
}

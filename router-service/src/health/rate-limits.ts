// `enforce_model_rate_limits`: a deployment's rpm and tpm as hard limits. In no window of 60 s more
// calls are started than its rpm allows, nor with more tokens held than its tpm. Kept by the router
// that hands over to the deployment; what others start is not seen here.
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { createSlidingMinute, type SlidingMinute } from './sliding-minute.ts'

/** Calls whose end is awaited, per deployment; the oldest (whose end was lost) go first. */
const maxRunning = 10_000

interface Limiter {
  starts: SlidingMinute
  tokens: SlidingMinute
  /** By call: the tokens held for it since its start. */
  running: Map<string, { mark: number; held: number }>
}

type Limits = Pick<DeploymentInfo, 'id' | 'rpm' | 'tpm'>

export interface RateLimits {
  /** Whether a call with such a prompt may start now. */
  allows(info: Limits, promptTokens: number): boolean
  /** Counts the call and holds its tokens. Only after `allows`. `callId`: of this attempt. */
  onStart(deploymentId: string, callId: string, promptTokens: number): void
  /**
   * Puts the call's real use in the place of what was held: what it did not use is free again, and
   * what it used beyond (its completion) counts from now. With 0 for a call that never ran.
   * @param actualTokens prompt and completion; null: not known, the hold stands.
   */
  onEnd(deploymentId: string, callId: string, actualTokens: number | null): void
  /** Epoch ms from which `allows` will hold: now if it does; null: never, the tpm is too small. */
  freeAt(info: Limits, promptTokens: number): number | null
  /** Drops every deployment that is not among those still there (a Set or Map of their ids). */
  forget(existing: { has(deploymentId: string): boolean }): void
}

/** @param now epoch milliseconds. */
export function createRateLimits(now: () => number = Date.now): RateLimits {
  const limiters = new Map<string, Limiter>()

  function limiterOf(deploymentId: string): Limiter {
    const known = limiters.get(deploymentId)
    if (known !== undefined) return known
    const limiter = {
      starts: createSlidingMinute(now),
      tokens: createSlidingMinute(now),
      running: new Map(),
    }
    limiters.set(deploymentId, limiter)
    return limiter
  }

  function freeAt({ id, rpm, tpm }: Limits, promptTokens: number): number | null {
    const startsBefore = (rpm ?? Infinity) - 1
    const tokensBefore = (tpm ?? Infinity) - promptTokens
    if (startsBefore < 0 || tokensBefore < 0) return null
    const limiter = limiters.get(id)
    if (limiter === undefined) return now()
    const { starts, tokens } = limiter
    return Math.max(starts.fallsTo(startsBefore), tokens.fallsTo(tokensBefore))
  }

  return {
    allows(info, promptTokens) {
      const at = freeAt(info, promptTokens)
      return at !== null && at <= now()
    },
    onStart(deploymentId, callId, promptTokens) {
      const { starts, tokens, running } = limiterOf(deploymentId)
      starts.add(1)
      running.set(callId, { mark: tokens.add(promptTokens), held: promptTokens })
      for (const oldest of running.keys()) {
        if (running.size <= maxRunning) break
        running.delete(oldest)
      }
    },
    onEnd(deploymentId, callId, actualTokens) {
      const limiter = limiters.get(deploymentId)
      const call = limiter?.running.get(callId)
      if (limiter === undefined || call === undefined) return
      limiter.running.delete(callId)
      if (actualTokens === null) return
      const more = actualTokens - call.held
      if (more > 0) limiter.tokens.add(more)
      else limiter.tokens.correct(call.mark, more)
    },
    freeAt,
    forget(existing) {
      for (const deploymentId of limiters.keys()) {
        if (!existing.has(deploymentId)) limiters.delete(deploymentId)
      }
    },
  }
}

// What the end of a job means: its sharer is charged with the slot time that it really used, and its
// deployment's statistics, rate limits and circuit breaker learn of it.
import type { JobOutcome } from '@penstock/shared/contracts/channels'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { Breakers } from './health/breaker.ts'
import type { RateLimits } from './health/rate-limits.ts'
import type { Stats } from './health/stats.ts'
import type { FairShares } from './queue/fair-shares.ts'
import type { Waiter } from './queue/waiting-room.ts'
import type { Holder } from './slots.ts'

export type Job = Pick<Holder, 'requestId' | 'hop' | 'deploymentId'>

export interface Settlement {
  /** It takes a slot: its sharer is charged with what it will probably use. */
  begin(job: Job, waiter: Waiter, group: string, promptTokens: number): void
  /**
   * @param outcome null: nothing can be said of the deployment
   * @param usedMs slot time as seen from here; 0: it never ran
   * @returns whether the deployment's breaker opened
   */
  end(job: Job, outcome: JobOutcome | null, usedMs: number): boolean
  /** Slot time that a job on this deployment will probably use, in milliseconds. */
  expectedMs(deploymentId: string): number
}

export interface SettlementParts {
  stats: Stats
  breakers: Breakers
  rates: RateLimits
  enforceRates: () => boolean
  infoOf(deploymentId: string): DeploymentInfo | undefined
  sharesOf(group: string): FairShares | undefined
}

/** Slot time assumed before any was measured, in milliseconds. */
const unknownSlotMs = 1_000

export function createSettlement(parts: SettlementParts): Settlement {
  const { stats, breakers, rates } = parts
  /** What was charged, by attempt: the next one may begin before the last one is settled. */
  const charges = new Map<string, { waiter: Waiter; group: string; expectedMs: number }>()
  /** Also the call's id: an attempt that ends late must not end its successor on the same deployment. */
  const keyOf = ({ requestId, hop }: Job) => `${requestId}:${hop}`
  const expectedMs = (deploymentId: string) => stats.of(deploymentId).slotMs ?? unknownSlotMs

  return {
    expectedMs,
    begin(job, waiter, group, promptTokens) {
      const { deploymentId } = job
      const callId = keyOf(job)
      charges.set(callId, { waiter, group, expectedMs: expectedMs(deploymentId) })
      breakers.onStart(deploymentId, callId)
      if (parts.enforceRates()) rates.onStart(deploymentId, callId, promptTokens)
    },
    end(job, outcome, usedMs) {
      const { deploymentId } = job
      const callId = keyOf(job)
      const charge = charges.get(callId)
      charges.delete(callId)
      if (charge !== undefined) {
        const { sharer, weight } = charge.waiter
        const used = outcome?.ms ?? usedMs
        parts.sharesOf(charge.group)?.onRelease(sharer, weight, charge.expectedMs, used)
      }
      if (outcome === null) {
        breakers.onAbandoned(deploymentId, callId)
        rates.onEnd(deploymentId, callId, usedMs === 0 ? 0 : null)
        return false
      }
      const { error, promptTokens, completionTokens } = outcome
      rates.onEnd(deploymentId, callId, promptTokens + completionTokens)
      stats.record(deploymentId, { ...outcome, ok: error === null })
      if (error === null) breakers.onSuccess(deploymentId, callId)
      else if (error.code === 'client_closed_request') breakers.onAbandoned(deploymentId, callId)
      else {
        const before = breakers.state(deploymentId)
        const cooldownMs = parts.infoOf(deploymentId)?.cooldownMs ?? null
        breakers.onFailure(deploymentId, callId, error, cooldownMs)
        return before !== 'open' && breakers.state(deploymentId) === 'open'
      }
      return false
    },
  }
}

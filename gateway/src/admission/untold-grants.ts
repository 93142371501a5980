// Requests that were granted from allowances, until billing is known to have been told of them.
import { ChurnMap } from '@penstock/shared/churn-map'
import { maxDraws, type ReserveQuestion } from '@penstock/shared/contracts/budget'
import { type Entry, owe, weightOf } from './allowance-entry.ts'

interface Grant {
  question: ReserveQuestion
  /** The accounts that pay. */
  entries: readonly Entry[]
  told: PromiseWithResolvers<void> | null
}

const maxUntold = 1_000

export function createUntoldGrants() {
  const grants = new ChurnMap<string, Grant>()

  return {
    get size(): number {
      return grants.size
    },
    get isFull(): boolean {
      return grants.size >= maxUntold
    },

    add(question: ReserveQuestion, entries: readonly Entry[]): void {
      for (const entry of entries) owe(entry, BigInt(question.amount), question.tokens)
      grants.set(question.requestId, { question, entries, told: null })
    },

    /** Resolves when billing knows of the request, or never will; null: that is so already. */
    told(requestId: string): Promise<void> | null {
      const grant = grants.get(requestId)
      if (grant === undefined) return null
      grant.told ??= Promise.withResolvers<void>()
      return grant.told.promise
    },

    /**
     * The oldest, as many as go into a message; the accounts that pay for others besides; and how much of
     * the message they take.
     */
    oldest(maxWeight: number) {
      const draws: ReserveQuestion[] = []
      const later = new Set<Entry>()
      let weight = 0
      for (const { question, entries } of grants.values()) {
        // Once one is not told, none behind it is: what is told again begins with what was told before.
        const isTold = later.size === 0 && draws.length < maxDraws && weight < maxWeight
        if (isTold) draws.push(question)
        for (const entry of entries) {
          if (isTold) {
            weight += weightOf(entry)
            entry.spentAsked = entry.spent
          } else later.add(entry)
        }
      }
      return { draws, later, weight }
    },

    /** They are in what billing says by now, or never will be. */
    settle(questions: readonly ReserveQuestion[]): void {
      for (const { requestId, amount, tokens } of questions) {
        const grant = grants.get(requestId)
        if (grant === undefined) continue
        grants.delete(requestId)
        for (const entry of grant.entries) owe(entry, -BigInt(amount), -tokens)
        grant.told?.resolve()
      }
    },
  }
}

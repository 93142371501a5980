// Which of the free deployments a request gets: those that meet its needs and have room in their rate
// limits, the first `order` of them, and among these the strategy's choice.
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { meets } from './requirement.ts'
import type { SchedulerParts, Waiting } from './scheduler.ts'
import { firstOrder } from './strategies/order.ts'
import type { Candidate } from './strategies/strategy.ts'

type Parts = Pick<
  SchedulerParts,
  'strategy' | 'enforceRates' | 'slots' | 'stats' | 'rates' | 'prefixes' | 'random'
>
type Infos = readonly DeploymentInfo[]

export interface Chooser {
  /** @param members all deployments of the group: what tags mean depends on the others, too */
  canTake(waiting: Waiting, info: DeploymentInfo, members: Infos): boolean
  /** Epoch ms at which a rate limit of the free ones lets it through; Infinity: none ever does. */
  roomAt(waiting: Waiting, free: Infos, members: Infos): number
  /** Null: none of the free ones can take it. */
  choose(
    waiting: Waiting,
    free: Infos,
    members: Infos,
  ): { info: DeploymentInfo; reasons: string[] } | null
  /** No wait would help: the prompt alone is over the tokens per minute of every deployment. */
  exceedsEveryLimit(waiting: Waiting, members: Infos): boolean
}

export function createChooser(parts: Parts): Chooser {
  const { slots, stats, rates, prefixes } = parts

  function canTake({ request, requirement }: Waiting, info: DeploymentInfo, members: Infos) {
    if (!meets(requirement, info, members)) return false
    return !parts.enforceRates() || rates.allows(info, request.promptTokens)
  }

  return {
    canTake,
    roomAt({ request, requirement }, free, members) {
      if (!parts.enforceRates()) return Number.POSITIVE_INFINITY
      const fitting = free.filter((info) => meets(requirement, info, members))
      const times = fitting.map((info) => rates.freeAt(info, request.promptTokens))
      return Math.min(...times.filter((at) => at !== null))
    },
    choose(waiting, free, members) {
      const { request } = waiting
      const served = request.prefixes.length > 0 ? prefixes.matches(request.prefixes) : null
      const candidates = free
        .filter((info) => canTake(waiting, info, members))
        .map((info): Candidate => {
          const affinity = served?.get(info.id) ?? 0
          return { info, inUse: slots.inUse(info.id), stats: stats.of(info.id), affinity }
        })
      const strategy = parts.strategy()
      const facts = { promptTokens: request.promptTokens, maxTokens: request.maxTokens }
      const choice = strategy.choose(firstOrder(candidates), facts, parts.random)
      if (choice === null) return null
      const reasons = [...waiting.reasons, `${strategy.name}: ${choice.reason}`]
      return { info: choice.candidate.info, reasons }
    },
    exceedsEveryLimit({ request, requirement }, members) {
      if (!parts.enforceRates()) return false
      const fitting = members.filter((info) => meets(requirement, info, members))
      const never = (info: DeploymentInfo) => rates.freeAt(info, request.promptTokens) === null
      return fitting.length > 0 && fitting.every(never)
    },
  }
}

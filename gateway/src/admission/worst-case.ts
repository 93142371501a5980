// The most that a request can cost, wherever it may be served: what is set aside for it in every
// account that pays. An honest overestimate, which billing settles to the truth.
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { BudgetSettings } from '@penstock/shared/config/config'
import { upstreamModelFor } from '@penstock/shared/config/resolve-group'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { Operation } from '@penstock/shared/contracts/request'
import { type Amount, costOf } from '@penstock/shared/pricing/money'
import type { KnownFields } from '../schemas.ts'
import { type DearestPrices, dearestPrices, withDefaults } from './dearest-prices.ts'
import { answerBound, audioBound, promptBound } from './token-bounds.ts'

export interface CostQuestion {
  operation: Operation
  request: KnownFields
  bodyBytes: number
  /** What wildcard groups make the upstream's name of. */
  model: string
  /** Epoch milliseconds: nothing of the request runs any longer. */
  deadline: number
}

export interface WorstCase {
  amount: Amount
  /** Prompt and answer together. */
  tokens: number
  /** The model of a deployment whose price nothing names; null: all have one. */
  unpriced: string | null
}

export interface WorstCases {
  /** Of the dearest deployment in the group; null while none was ever seen. */
  inGroup(group: string, question: CostQuestion): WorstCase | null
}

const maxGroups = 1_000
/** No upstream makes that many before any deadline; sums of more would not be exact. */
const maxTokens = 10 ** 11

export function createWorstCases(
  fleet: Pick<FleetView, 'inGroup'>,
  settings: () => BudgetSettings,
  now: () => number = Date.now,
): WorstCases {
  /** Where a group's last worker was lost a moment ago, the request waits for the next one. */
  const lastSeen = new Map<string, readonly DeploymentInfo[]>()

  function deploymentsIn(group: string): readonly DeploymentInfo[] {
    const present = fleet.inGroup(group)
    if (present.length === 0) return lastSeen.get(group) ?? []
    if (lastSeen.size >= maxGroups && !lastSeen.has(group)) lastSeen.clear()
    lastSeen.set(group, present)
    return present
  }

  function atDeployment(info: DeploymentInfo, group: string, question: CostQuestion): WorstCase {
    const { operation, request, bodyBytes, model, deadline } = question
    const from = now()
    const audioMs = audioBound(operation, bodyBytes)
    const prompt = promptBound(request, operation, bodyBytes)
    // Several prompts in one request have room for that many each.
    const room = request.messages === undefined ? null : info.maxInputTokens
    const promptTokens = room === null ? prompt : Math.min(prompt, room)
    const unlimited = info.maxOutputTokens ?? settings().defaultMaxTokens
    const answerTokens = Math.min(maxTokens, answerBound(request, operation, unlimited))
    const upstream = upstreamModelFor(info.priceRef?.model ?? info.model, group, model)
    const asked = { info, model: upstream, from, until: deadline, promptTokens }
    const { unknownPrice, defaultPrices } = settings()
    const standIn = unknownPrice === 'default' ? defaultPrices : null
    const prices = withDefaults(dearestPrices(asked), standIn, asked)
    // A price per second is for the audio where the upstream says how long it was.
    const ms = Math.max(0, deadline - from, audioMs)
    return {
      amount: prices === null ? 0n : costBy(prices, { promptTokens, answerTokens, ms, audioMs }),
      tokens: promptTokens + answerTokens,
      unpriced: prices === null ? upstream : null,
    }
  }

  return {
    inGroup(group, question) {
      const cases = deploymentsIn(group).map((info) => atDeployment(info, group, question))
      return cases.length === 0 ? null : cases.reduce(worse)
    },
  }
}

/** As bad as the worse of the two in each respect. */
export function worse(one: WorstCase, other: WorstCase): WorstCase {
  const dearer = one.amount > other.amount ? one : other
  return {
    amount: dearer.amount,
    tokens: Math.max(one.tokens, other.tokens),
    unpriced: one.unpriced ?? other.unpriced,
  }
}

interface Quantities {
  promptTokens: number
  answerTokens: number
  ms: number
  audioMs: number
}

function costBy(prices: DearestPrices, most: Quantities): Amount {
  const { promptTokens, answerTokens, ms, audioMs } = most
  let amount = 0n
  if (prices.prompt !== undefined) amount += costOf(promptTokens, prices.prompt)
  if (prices.promptMs !== undefined) amount += costOf(ms, prices.promptMs)
  if (prices.audioMs !== undefined) amount += costOf(audioMs, prices.audioMs)
  if (prices.answer !== undefined) amount += costOf(answerTokens, prices.answer)
  if (prices.answerMs !== undefined) amount += costOf(ms, prices.answerMs)
  if (prices.call !== undefined) amount += costOf(1, prices.call)
  return amount
}

// What one attempt cost: configured prices first, then the vendor's list, else nothing and said so.
// Pure and exact: the same event always gives the same amount.
import type { BilledRate, TokenUsage, UsageEvent } from '../contracts/usage.ts'
import { type Amount, costOf, type Decimal, priceText } from './money.ts'
import { configuredLists, type OwnPrices, ownPriceOf } from './own-prices.ts'
import { lookUpPrices, type PriceList, type TableComponent } from './price-table.ts'

export type PriceSource = 'configured' | 'price-table' | 'normal-tier' | 'unpriced'
export type PriceComponent = TableComponent | 'inputSeconds' | 'outputSeconds'

/** One component as it was billed: the amount is the sum of quantity × price over all of them. */
export interface UnitPrice {
  /** Tokens or calls; milliseconds for the two `…Seconds` and for audio. */
  quantity: number
  /** US dollars for one of `quantity`, exact, in decimal. */
  price: string
}

export type UnitPrices = Partial<Record<PriceComponent, UnitPrice>>

export interface PricedUsage {
  /** Pico-dollars. */
  amount: Amount
  unitPrices: UnitPrices
  source: PriceSource
}

/** What of a usage event its price depends on. */
export type PricedCall = Pick<
  UsageEvent,
  'prices' | 'priceRef' | 'usage' | 'status' | 'startedAt' | 'endedAt'
>

/**
 * Prices an event, prompt and completion each by the first of these that is there: its configured
 * price per token, its configured price per second, the list's prices. A part without a price of
 * its own (cached, written to the cache, audio, image, reasoning) costs what plain tokens of its direction
 * cost. So far LiteLLM's rules for `model_info`; `unpriced` means that nothing names any price.
 *
 * For a service tier or a batch line its own prices stand before these, for the parts that they
 * name. What else a service tier took is billed at the normal price, as LiteLLM does it, and
 * `normal-tier` says so: a list has no prices of tiers. Batch lines are ordinary calls to the
 * upstream: without a price of their own they cost as much.
 *
 * Where the upstream says how long the audio was, prices per second are for that, else for the time of
 * the attempt; the list's price per hour of audio is due only where nothing is configured.
 *
 * Rounding: each component is exact in pico-dollars; where a price is finer than that, the
 * component (not the single token) is rounded half up.
 * @throws RangeError if a price or a time in the event is none.
 */
export function priceUsage(event: PricedCall): PricedUsage {
  const { normal: own, special } = configuredLists(event.prices)
  const list = listed(event)
  const isConfigured = Object.keys(own).length > 0
  if (!isConfigured && list === null) return { amount: 0n, unitPrices: {}, source: 'unpriced' }

  let amount = 0n
  const unitPrices: UnitPrices = {}
  const charge: Charge = (component, quantity, price) => {
    if (price === undefined || quantity <= 0) return
    amount += costOf(quantity, price)
    unitPrices[component] = { quantity, price: priceText(price) }
  }

  const { audioMs, rate } = event.usage
  const atRate = rate === undefined ? undefined : special[rate]
  const durationMs = audioMs ?? event.endedAt - event.startedAt
  let isAtRate = true
  for (const [plain, byTime, partsOf] of directions) {
    if (own[byTime] !== undefined && own[plain] === undefined && atRate?.[plain] === undefined) {
      // Audio is paid for once: LiteLLM's rule too, whose list names both prices for the same seconds.
      const isPaid =
        byTime === 'inputSeconds' && audioMs !== undefined && own.outputSeconds !== undefined
      if (!isPaid) charge(byTime, durationMs, own[byTime])
    } else {
      const normal = own[plain] === undefined ? { ...list, ...own } : own
      isAtRate = chargeParts(charge, partsOf(event.usage), plain, normal, atRate) && isAtRate
    }
  }
  // A vendor's fee per call: due for answers, and only where the list alone sets the price.
  if (!isConfigured && event.status === 'success') charge('request', 1, list?.request)
  if (!isConfigured) charge('audio', audioMs ?? 0, list?.audio)

  if (isServiceTier(rate) && !isAtRate) return { amount, unitPrices, source: 'normal-tier' }
  const source = isConfigured || atRate !== undefined ? 'configured' : 'price-table'
  return { amount, unitPrices, source }
}

type Charge = (component: PriceComponent, quantity: number, price: Decimal | undefined) => void

const directions = [
  ['input', 'inputSeconds', promptParts],
  ['output', 'outputSeconds', completionParts],
] as const

/** @returns whether the rate has a price for all of them */
function chargeParts(
  charge: Charge,
  parts: readonly Part[],
  plain: 'input' | 'output',
  normal: OwnPrices,
  atRate: OwnPrices = {},
): boolean {
  let isAtRate = true
  for (const [part, tokens] of parts) {
    if (tokens === 0) continue
    const usual = ownPriceOf(normal, part)
    const named = atRate[part] ?? (usual === undefined ? atRate[plain] : undefined)
    if (named === undefined) isAtRate = false
    charge(part, tokens, named ?? usual ?? normal[plain])
  }
  return isAtRate
}

function isServiceTier(rate: BilledRate | undefined): boolean {
  return rate !== undefined && rate !== 'batch'
}

function listed({ priceRef, startedAt, usage }: PricedCall): PriceList | null {
  if (priceRef === null) return null
  const list = lookUpPrices({ ...priceRef, at: startedAt, promptTokens: usage.promptTokens })
  // Sold by the hour alone, and nobody knows how long it was: that is no price.
  const isByHour = list?.audio !== undefined && Object.keys(list).length === 1
  return isByHour && usage.audioMs === undefined ? null : list
}

type Part = [TableComponent, number]

function promptParts(usage: TokenUsage): Part[] {
  const writtenForAnHour = Math.min(usage.cacheWrite1hTokens ?? 0, usage.cacheWriteTokens)
  return split(usage.promptTokens, 'input', [
    ['cacheRead', usage.cachedPromptTokens],
    ['cacheWrite', usage.cacheWriteTokens - writtenForAnHour],
    ['cacheWrite1h', writtenForAnHour],
    ['inputAudio', usage.audioPromptTokens],
    ['inputImage', usage.imagePromptTokens ?? 0],
  ])
}

function completionParts(usage: TokenUsage): Part[] {
  return split(usage.completionTokens, 'output', [
    ['reasoning', usage.reasoningTokens],
    ['outputAudio', usage.audioCompletionTokens],
    ['outputImage', usage.imageCompletionTokens ?? 0],
  ])
}

/** Cuts a total into its parts and the rest. Parts that claim more than the total are cut short. */
function split(total: number, rest: TableComponent, parts: Part[]): Part[] {
  let left = total
  const cut = parts.map(([name, tokens]): Part => {
    const taken = Math.min(tokens, left)
    left -= taken
    return [name, taken]
  })
  return [[rest, left], ...cut]
}

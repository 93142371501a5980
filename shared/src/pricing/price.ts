// What one attempt cost: configured prices first, then the vendor's list, else nothing and said so.
// Pure and exact: the same event always gives the same amount.
import type { ConfiguredPrices, TokenUsage, UsageEvent } from '../contracts/usage.ts'
import { type Amount, costOf, type Decimal, decimalOf, priceText, shiftDown } from './money.ts'
import { lookUpPrices, type PriceList, type TableComponent } from './price-table.ts'

export type PriceSource = 'configured' | 'price-table' | 'unpriced'
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
 * Where the upstream says how long the audio was, prices per second are for that, else for the time of
 * the attempt; the list's price per hour of audio is due only where nothing is configured.
 *
 * Rounding: each component is exact in pico-dollars; where a price is finer than that, the
 * component (not the single token) is rounded half up.
 * @throws RangeError if a price or a time in the event is none.
 */
export function priceUsage(event: PricedCall): PricedUsage {
  const own = configuredList(event.prices)
  const list = listed(event)
  const isConfigured = Object.keys(own).length > 0
  if (!isConfigured && list === null) return { amount: 0n, unitPrices: {}, source: 'unpriced' }

  let amount = 0n
  const unitPrices: UnitPrices = {}
  const charge = (component: PriceComponent, quantity: number, price: Decimal | undefined) => {
    if (price === undefined || quantity <= 0) return
    amount += costOf(quantity, price)
    unitPrices[component] = { quantity, price: priceText(price) }
  }

  const { audioMs } = event.usage
  const durationMs = audioMs ?? event.endedAt - event.startedAt
  const input = own.input === undefined ? { ...list, ...own } : own
  if (own.input === undefined && own.inputSeconds !== undefined) {
    // Audio is paid for once: LiteLLM's rule too, whose list names both prices for the same seconds.
    if (audioMs === undefined || own.outputSeconds === undefined) {
      charge('inputSeconds', durationMs, own.inputSeconds)
    }
  } else {
    for (const [part, tokens] of promptParts(event.usage)) {
      charge(part, tokens, input[part] ?? input.input)
    }
  }
  const output = own.output === undefined ? { ...list, ...own } : own
  if (own.output === undefined && own.outputSeconds !== undefined) {
    charge('outputSeconds', durationMs, own.outputSeconds)
  } else {
    for (const [part, tokens] of completionParts(event.usage)) {
      charge(part, tokens, output[part] ?? output.output)
    }
  }
  // A vendor's fee per call: due for answers, and only where the list alone sets the price.
  if (!isConfigured && event.status === 'success') charge('request', 1, list?.request)
  if (!isConfigured) charge('audio', audioMs ?? 0, list?.audio)

  return { amount, unitPrices, source: isConfigured ? 'configured' : 'price-table' }
}

/** The two of seconds are per millisecond here. */
export type OwnPrices = PriceList & { inputSeconds?: Decimal; outputSeconds?: Decimal }

/** @throws RangeError if a price is none */
export function configuredList(prices: ConfiguredPrices | null): OwnPrices {
  const found: OwnPrices = {}
  const set = (component: keyof OwnPrices, price: number | undefined, places = 0) => {
    if (price !== undefined) found[component] = shiftDown(decimalOf(price), places)
  }
  set('input', prices?.inputCostPerToken)
  set('output', prices?.outputCostPerToken)
  set('cacheRead', prices?.cacheReadInputTokenCost)
  set('cacheWrite', prices?.cacheCreationInputTokenCost)
  // Durations are measured in milliseconds: three places down.
  set('inputSeconds', prices?.inputCostPerSecond, 3)
  set('outputSeconds', prices?.outputCostPerSecond, 3)
  return found
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
  return split(usage.promptTokens, 'input', [
    ['cacheRead', usage.cachedPromptTokens],
    ['cacheWrite', usage.cacheWriteTokens],
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

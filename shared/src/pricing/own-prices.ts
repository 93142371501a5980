// The prices of the config's `model_info` as price lists: the normal one, and beside it what it names
// for service tiers and for batches (LiteLLM docs: proxy/custom_pricing).
import type { BilledRate, ConfiguredPrices } from '../contracts/usage.ts'
import { type Decimal, decimalOf, shiftDown } from './money.ts'
import type { PriceList, TableComponent } from './price-table.ts'

/** The two of seconds are per millisecond here. */
export type OwnPrices = PriceList & { inputSeconds?: Decimal; outputSeconds?: Decimal }

export interface ConfiguredLists {
  normal: OwnPrices
  special: Partial<Record<BilledRate, OwnPrices>>
}

interface Meaning {
  component: keyof OwnPrices
  rate?: BilledRate
  /** Durations are measured in milliseconds: three places down. */
  places?: number
}

const meanings: Record<keyof ConfiguredPrices, Meaning> = {
  inputCostPerToken: { component: 'input' },
  outputCostPerToken: { component: 'output' },
  cacheReadInputTokenCost: { component: 'cacheRead' },
  cacheCreationInputTokenCost: { component: 'cacheWrite' },
  cacheCreationInputTokenCostAbove1hr: { component: 'cacheWrite1h' },
  inputCostPerSecond: { component: 'inputSeconds', places: 3 },
  outputCostPerSecond: { component: 'outputSeconds', places: 3 },
  inputCostPerTokenPriority: { component: 'input', rate: 'priority' },
  outputCostPerTokenPriority: { component: 'output', rate: 'priority' },
  cacheReadInputTokenCostPriority: { component: 'cacheRead', rate: 'priority' },
  inputCostPerTokenFlex: { component: 'input', rate: 'flex' },
  outputCostPerTokenFlex: { component: 'output', rate: 'flex' },
  cacheReadInputTokenCostFlex: { component: 'cacheRead', rate: 'flex' },
  inputCostPerTokenBatches: { component: 'input', rate: 'batch' },
  outputCostPerTokenBatches: { component: 'output', rate: 'batch' },
}

/** @throws RangeError if a price is none */
export function configuredLists(prices: ConfiguredPrices | null): ConfiguredLists {
  const lists: ConfiguredLists = { normal: {}, special: {} }
  for (const name in prices) {
    const price = prices[name as keyof ConfiguredPrices]
    if (price === undefined) continue
    const { component, rate, places = 0 } = meanings[name as keyof ConfiguredPrices]
    if (rate !== undefined) lists.special[rate] ??= {}
    const list = rate === undefined ? lists.normal : lists.special[rate]
    if (list !== undefined) list[component] = shiftDown(decimalOf(price), places)
  }
  return lists
}

/**
 * What a list says of a part; undefined: it costs what plain tokens cost.
 * Anthropic's factors for a cache write are 1.25 of the base input price for five minutes and 2 for
 * an hour (platform.claude.com/docs/en/build-with-claude/prompt-caching, "Pricing"). The second stands
 * in where a list has a price for the first alone; where neither has one, all of the prompt costs
 * the same.
 */
export function ownPriceOf(list: OwnPrices, part: TableComponent): Decimal | undefined {
  if (part !== 'cacheWrite1h') return list[part]
  const { input, cacheWrite, cacheWrite1h } = list
  if (cacheWrite1h !== undefined || cacheWrite === undefined) return cacheWrite1h
  return input === undefined ? cacheWrite : { ...input, digits: input.digits * 2n }
}

// What a model's vendor charges per token, out of `@pydantic/genai-prices`. Only the unit prices
// are taken from that library: its own sums are floats.
import { calcPrice } from '@pydantic/genai-prices'
import { type Decimal, decimalOf, shiftDown } from './money.ts'

/** The price components of one call. All are per token, but `request`, which is per call. */
export type TableComponent =
  | 'input'
  | 'cacheRead'
  | 'cacheWrite'
  | 'inputAudio'
  | 'output'
  | 'reasoning'
  | 'outputAudio'
  | 'request'

export type PriceList = Partial<Record<TableComponent, Decimal>>

/** The library's price keys: US dollars per 10^places. */
const keys: Record<TableComponent, { key: string; places: number }> = {
  input: { key: 'input_mtok', places: 6 },
  cacheRead: { key: 'cache_read_mtok', places: 6 },
  cacheWrite: { key: 'cache_write_mtok', places: 6 },
  inputAudio: { key: 'input_audio_mtok', places: 6 },
  output: { key: 'output_mtok', places: 6 },
  reasoning: { key: 'output_reasoning_mtok', places: 6 },
  outputAudio: { key: 'output_audio_mtok', places: 6 },
  request: { key: 'requests_kcount', places: 3 },
}

export interface PriceQuestion {
  provider: string
  model: string
  /** Epoch milliseconds: prices change, and some differ by the time of day. */
  at: number
  /** Decides the tier, where a long prompt makes every token of the call dearer. */
  promptTokens: number
}

/** Null where the list does not know the model, or no price that tokens could be billed by. */
export function lookUpPrices({
  provider,
  model,
  at,
  promptTokens,
}: PriceQuestion): PriceList | null {
  const found = calcPrice({}, model, { providerId: provider, timestamp: new Date(at) })
  if (found === null) return null
  const list: PriceList = {}
  for (const [component, { key, places }] of Object.entries(keys)) {
    const price = found.model_price[key]
    if (price === undefined) continue
    list[component as TableComponent] = shiftDown(decimalOf(tierOf(price, promptTokens)), places)
  }
  return Object.keys(list).length === 0 ? null : list
}

interface Tiered {
  base: number
  tiers: { start: number; price: number }[]
}

/** The library's own rule: the highest tier whose start the prompt exceeds prices all tokens. */
function tierOf(price: number | Tiered, promptTokens: number): number {
  if (typeof price === 'number') return price
  let chosen = { start: -1, price: price.base }
  for (const tier of price.tiers) {
    if (promptTokens > tier.start && tier.start > chosen.start) chosen = tier
  }
  return chosen.price
}

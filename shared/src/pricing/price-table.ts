// What a model's vendor charges per token, out of `@pydantic/genai-prices`. Only the unit prices
// are taken from that library: its own sums are floats.
import { calcPrice, type ModelPrice } from '@pydantic/genai-prices'
import { type Decimal, decimalOf, shiftDown } from './money.ts'

/** The price components of one call: per token, but `request` per call, `audio` per ms listened to. */
export type TableComponent =
  | 'input'
  | 'cacheRead'
  | 'cacheWrite'
  | 'cacheWrite1h'
  | 'inputAudio'
  | 'inputImage'
  | 'output'
  | 'reasoning'
  | 'outputAudio'
  | 'outputImage'
  | 'request'
  | 'audio'

export type PriceList = Partial<Record<TableComponent, Decimal>>

/** The library's price keys: US dollars per 10^places. */
const keys: Record<Exclude<TableComponent, 'audio'>, { key: string; places: number }> = {
  input: { key: 'input_mtok', places: 6 },
  cacheRead: { key: 'cache_read_mtok', places: 6 },
  cacheWrite: { key: 'cache_write_mtok', places: 6 },
  cacheWrite1h: { key: 'cache_write_1h_mtok', places: 6 },
  inputAudio: { key: 'input_audio_mtok', places: 6 },
  inputImage: { key: 'input_image_mtok', places: 6 },
  output: { key: 'output_mtok', places: 6 },
  reasoning: { key: 'output_reasoning_mtok', places: 6 },
  outputAudio: { key: 'output_audio_mtok', places: 6 },
  outputImage: { key: 'output_image_mtok', places: 6 },
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

/** Null where the list does not know the model, or no price that tokens or audio could be billed by. */
export function lookUpPrices({
  provider,
  model,
  at,
  promptTokens,
}: PriceQuestion): PriceList | null {
  const prices = pricesAt(provider, model, at)
  if (prices === null) return null
  const list: PriceList = {}
  for (const [component, { key, places }] of Object.entries(keys)) {
    const price = prices[key]
    if (price === undefined) continue
    list[component as TableComponent] = shiftDown(decimalOf(tierOf(price, promptTokens)), places)
  }
  const { audio_hours: hour } = prices
  if (hour !== undefined) list.audio = perMs(decimalOf(tierOf(hour, promptTokens)))
  return Object.keys(list).length === 0 ? null : list
}

/** Of a price per hour. Not every one can be divided: to 24 places more, half up. */
function perMs({ digits, exponent }: Decimal): Decimal {
  const [places, divisor] = [24, 3_600_000n]
  const scaled = digits * 10n ** BigInt(places)
  return { digits: (scaled * 2n + divisor) / (divisor * 2n), exponent: exponent - places }
}

const minuteMs = 60_000
const maxRemembered = 1_000
const remembered = new Map<string, ModelPrice | null>()

/** The library matches a model against patterns, some 40 µs each time: once a minute will do. */
function pricesAt(provider: string, model: string, at: number): ModelPrice | null {
  const minute = Math.floor(at / minuteMs)
  const key = `${minute} ${provider} ${model}`
  let prices = remembered.get(key)
  if (prices === undefined) {
    const timestamp = new Date(minute * minuteMs)
    prices = calcPrice({}, model, { providerId: provider, timestamp })?.model_price ?? null
    if (remembered.size >= maxRemembered) remembered.clear()
    remembered.set(key, prices)
  }
  return prices
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

// The dearest that a token, a millisecond and a call can cost at a deployment, by the rules that
// price.ts settles with: configured prices, then the vendor's list.
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { ConfiguredPrices } from '@penstock/shared/contracts/usage'
import type { Decimal } from '@penstock/shared/pricing/money'
import { configuredLists, type OwnPrices, ownPriceOf } from '@penstock/shared/pricing/own-prices'
import { lookUpPrices, type PriceList } from '@penstock/shared/pricing/price-table'

/** One price each for the prompt, the answer and audio listened to, per token or ms; absent: nothing. */
export interface DearestPrices {
  prompt?: Decimal
  promptMs?: Decimal
  answer?: Decimal
  answerMs?: Decimal
  audioMs?: Decimal
  call?: Decimal
}

export interface PricesQuestion {
  info: Pick<DeploymentInfo, 'prices' | 'priceRef'>
  /** The model at the upstream, where the deployment's name is a pattern. */
  model: string
  /** Epoch milliseconds: the call may come at any time between, and prices depend on the time. */
  from: number
  until: number
  /** The most there can be: a long prompt makes every token of a call dearer. */
  promptTokens: number
}

/** @returns null where nothing names any price */
export function dearestPrices(question: PricesQuestion): DearestPrices | null {
  const { normal: own, special } = configuredLists(question.info.prices)
  const lists = own.input === undefined || own.output === undefined ? listsOf(question) : []
  const isConfigured = Object.keys(own).length > 0
  if (!isConfigured && lists.length === 0) return null

  const found: DearestPrices = {}
  if (own.input === undefined && own.inputSeconds !== undefined) found.promptMs = own.inputSeconds
  else {
    for (const list of own.input === undefined ? merged(lists, own) : [own]) {
      const written = [list.cacheWrite, ownPriceOf(list, 'cacheWrite1h')]
      const media = [list.inputAudio, list.inputImage]
      setDearest(found, 'prompt', [list.input, list.cacheRead, ...written, ...media])
    }
  }
  if (own.output === undefined && own.outputSeconds !== undefined) {
    found.answerMs = own.outputSeconds
  } else {
    for (const list of own.output === undefined ? merged(lists, own) : [own]) {
      const media = [list.outputAudio, list.outputImage]
      setDearest(found, 'answer', [list.output, list.reasoning, ...media])
    }
  }
  // Whichever tier is asked for: a request that names none gets what the upstream's project is set to
  // (OpenAI's API reference, `service_tier`), and one that does may be served in the normal one.
  for (const { input, cacheRead, output } of Object.values(special)) {
    setDearest(found, 'prompt', [input, cacheRead])
    setDearest(found, 'answer', [output])
  }
  if (!isConfigured) {
    setDearest(
      found,
      'call',
      lists.map((list) => list.request),
    )
    setDearest(
      found,
      'audioMs',
      lists.map((list) => list.audio),
    )
  }
  return found
}

/** At its beginning and its end, for the shortest and the longest prompt: tiers and hours. */
function listsOf({ info, model, from, until, promptTokens }: PricesQuestion): PriceList[] {
  if (info.priceRef === null) return []
  const { provider } = info.priceRef
  return [from, until].flatMap((at) =>
    [0, promptTokens].flatMap((tokens) => {
      const list = lookUpPrices({ provider, model, at, promptTokens: tokens })
      return list === null ? [] : [list]
    }),
  )
}

function merged(lists: readonly PriceList[], own: OwnPrices): OwnPrices[] {
  return lists.length === 0 ? [own] : lists.map((list) => ({ ...list, ...own }))
}

function setDearest(
  found: DearestPrices,
  name: keyof DearestPrices,
  prices: readonly (Decimal | undefined)[],
): void {
  for (const price of prices) {
    const dearest = found[name]
    if (price === undefined) continue
    if (dearest === undefined || isDearer(price, dearest)) found[name] = price
  }
}

function isDearer(one: Decimal, other: Decimal): boolean {
  const exponent = Math.min(one.exponent, other.exponent)
  const scaled = (price: Decimal) => price.digits * 10n ** BigInt(price.exponent - exponent)
  return scaled(one) > scaled(other)
}

/** Prices that stand in where nothing else names any. */
export function withDefaults(
  found: DearestPrices | null,
  defaults: ConfiguredPrices | null,
  question: PricesQuestion,
): DearestPrices | null {
  if (found !== null || defaults === null) return found
  return dearestPrices({ ...question, info: { prices: defaults, priceRef: null } })
}

// Money as integers. The ledger's unit is the pico-dollar (1e-12 US dollars): a token at $0.02 per
// million costs exactly 20,000 of them. Prices stay exact decimals until a component is summed up.

/** An exact decimal: digits × 10^exponent. */
export interface Decimal {
  readonly digits: bigint
  readonly exponent: number
}

/** Pico-dollars: 10^12 of them make a US dollar. */
export type Amount = bigint

const picoExponent = 12
/** The same few prices come with every answer. */
const maxKnown = 10_000
const decimals = new Map<number, Decimal>()
const texts = new WeakMap<Decimal, string>()

/**
 * The decimal that the number is written as: 2.5e-7 is 25 × 10^-8, not the binary fraction next to
 * it. This is how a price in a config file or a price list is meant.
 * @throws RangeError for a negative or non-finite number.
 */
export function decimalOf(price: number): Decimal {
  const known = decimals.get(price)
  if (known !== undefined) return known
  const decimal = readDecimal(price)
  if (decimals.size >= maxKnown) decimals.clear()
  decimals.set(price, decimal)
  return decimal
}

function readDecimal(price: number): Decimal {
  if (!Number.isFinite(price) || price < 0) throw new RangeError(`not a price: ${price}`)
  const [mantissa = '0', exponent = '0'] = String(price).split('e')
  const [whole = '0', fraction = ''] = mantissa.split('.')
  return { digits: BigInt(whole + fraction), exponent: Number(exponent) - fraction.length }
}

/** The same decimal divided by 10^places: dollars per million tokens → per token, with 6. */
export function shiftDown(value: Decimal, places: number): Decimal {
  if (places === 0) return value
  return { digits: value.digits, exponent: value.exponent - places }
}

/**
 * quantity × price in pico-dollars, exact; only a price finer than the unit can leave a remainder,
 * which is then rounded half up.
 * @param quantity a whole number of the units that `price` (US dollars) is for.
 */
export function costOf(quantity: number, price: Decimal): Amount {
  const product = BigInt(quantity) * price.digits
  const exponent = price.exponent + picoExponent
  if (exponent >= 0) return product * 10n ** BigInt(exponent)
  const divisor = 10n ** BigInt(-exponent)
  return (product * 2n + divisor) / (divisor * 2n)
}

/** A price, exact and without an exponent: `0.0000025`. */
export function priceText(price: Decimal): string {
  const known = texts.get(price)
  if (known !== undefined) return known
  const text = decimalText(price)
  texts.set(price, text)
  return text
}

function decimalText(value: Decimal): string {
  const negative = value.digits < 0n
  const digits = (negative ? -value.digits : value.digits).toString()
  const places = Math.max(0, -value.exponent)
  const padded = (digits + '0'.repeat(Math.max(0, value.exponent))).padStart(places + 1, '0')
  const whole = padded.slice(0, padded.length - places)
  const fraction = padded.slice(padded.length - places).replace(/0+$/, '')
  const text = fraction === '' ? whole : `${whole}.${fraction}`
  return negative ? `-${text}` : text
}

/** An amount in US dollars, exact: `0.00000002`. */
export function dollarText(amount: Amount): string {
  return decimalText({ digits: amount, exponent: -picoExponent })
}

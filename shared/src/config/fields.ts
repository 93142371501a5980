// The kinds of value a config holds, as zod schemas that also take what YAML and environment
// variables make of them (`"30"`, `20_000`, `yes`), and whose messages read `expected …`.
import { z } from 'zod'

/** Node's timers take 31 bits of milliseconds; a longer one would fire at once. */
const maxSeconds = 2_147_483

/** A schema from a reader that answers undefined for what it does not take. */
function field<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((value, context): T => {
    const result = read(value)
    if (result !== undefined) return result
    context.addIssue({ code: 'custom', message: `expected ${expected}` })
    return z.NEVER
  })
}

/** Numbers, and texts that are numbers in YAML 1.1 or Python: `30`, `0.5`, `20_000`, `1e-6`. */
function toNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (typeof value !== 'string') return undefined
  const text = value.trim()
  if (!/^[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined
  return Number(text.replaceAll('_', ''))
}

const numberThat = (expected: string, holds: (value: number) => boolean) =>
  field(expected, (value) => {
    const number = toNumber(value)
    return number !== undefined && holds(number) ? number : undefined
  })

export const count = numberThat(
  'a whole number, 0 or more',
  (n) => Number.isSafeInteger(n) && n >= 0,
)
export const positiveCount = numberThat(
  'a whole number, 1 or more',
  (n) => Number.isSafeInteger(n) && n >= 1,
)
export const integer = numberThat('a whole number', Number.isSafeInteger)
export const positive = numberThat('a number above 0', (n) => n > 0)
export const notNegative = numberThat('a number, 0 or more', (n) => n >= 0)

/** Seconds, whole or not, to whole milliseconds. */
const toMs = (seconds: number) => Math.max(seconds > 0 ? 1 : 0, Math.round(seconds * 1000))
export const secondsToMs = numberThat(
  'a number of seconds',
  (n) => n > 0 && n <= maxSeconds,
).transform(toMs)
export const secondsOrZeroToMs = numberThat(
  'a number of seconds, 0 or more',
  (n) => n >= 0 && n <= maxSeconds,
).transform(toMs)

const unitMs: Record<string, number> = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7, w: 6.048e8 }

/** LiteLLM's durations: `30s`, `30m`, `30h`, `30d`; weeks (`w`) too. */
export const durationToMs = field('a duration like 30d or 12h', (value) => {
  const [, number, unit = ''] = /^(\d{1,6})([smhdw])$/.exec(String(value).trim()) ?? []
  const ms = Number(number) * (unitMs[unit] ?? Number.NaN)
  return ms > 0 ? ms : undefined
})

/** An IANA time zone that this runtime knows. An offset is none: Postgres reads its sign the other way. */
export const timezone = field('a time zone like Europe/Berlin', (value) => {
  if (/^[+-]/.test(String(value))) return undefined
  try {
    return new Intl.DateTimeFormat('en', { timeZone: String(value) }).resolvedOptions().timeZone
  } catch {
    return undefined
  }
})

export const text = z.string('expected a text').min(1, 'expected a text')
/** Where an empty text says "none", as in `api_key: ""`. */
export const textOrEmpty = z.string('expected a text')
export const scalarText = field('a text', (value) =>
  typeof value === 'number' || (typeof value === 'string' && value !== '')
    ? String(value)
    : undefined,
)

const truths = new Map<unknown, boolean>([
  ...['true', 'yes', 'on', '1'].map((word) => [word, true] as const),
  ...['false', 'no', 'off', '0'].map((word) => [word, false] as const),
])
/** PyYAML takes yes/no/on/off for booleans, and variables are texts in any case. */
export const flag = field('true or false', (value) =>
  truths.get(String(value).trim().toLowerCase()),
)

export const webUrl = field('a URL that begins with http:// or https://', (value) =>
  typeof value === 'string' && /^https?:\/\/[^/\s]/i.test(value) && URL.canParse(value)
    ? value
    : undefined,
)

export const textList = z.array(text, 'expected a list of texts')
export const oneOrMoreTexts = z.preprocess(
  (value) => (typeof value === 'string' ? [value] : value),
  textList,
)

export const anyMap = z.record(z.string(), z.unknown(), 'expected a map')
/** Header values; YAML makes numbers and booleans of some. */
export const headerMap = z.record(
  z.string(),
  field('a text', (value) =>
    typeof value === 'object' || value === undefined ? undefined : String(value),
  ),
  'expected a map of headers',
)

export function oneOf<const T extends string>(values: readonly T[]) {
  return field(`one of ${values.join(', ')}`, (value) => values.find((known) => known === value))
}

// What the rate-limit headers of OpenAI and those who copy them say about waiting, for an upstream
// that sends no Retry-After. (OpenAI: guide "Rate limits", "Rate limits in headers"; Groq likewise.)
const windows = ['requests', 'tokens'] as const
const maxResetMs = 24 * 3_600_000
const unitMs = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const

/**
 * The milliseconds until the last of the spent windows begins anew, at most a day; null where the
 * status is not 429 or no window is spent.
 */
export function rateLimitReset(status: number, headers: Record<string, string>): number | null {
  if (status !== 429) return null
  const waits = windows
    .filter((name) => Number(headers[`x-ratelimit-remaining-${name}`] ?? 'none') <= 0)
    .map((name) => durationMs(headers[`x-ratelimit-reset-${name}`] ?? ''))
    .filter((wait) => wait !== null)
  return waits.length === 0 ? null : Math.min(Math.max(...waits), maxResetMs)
}

/** Go's durations: `1s`, `6m0s`, `2m59.56s`, `20ms`. */
function durationMs(text: string): number | null {
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s))+$/.test(text)) return null
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) {
    total += Number(amount) * unitMs[unit as keyof typeof unitMs]
  }
  return Math.round(total)
}

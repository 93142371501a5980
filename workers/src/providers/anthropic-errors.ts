// What Anthropic says when it fails (docs: api/errors): a type for each status, `details.error_code`
// for some causes, and a sentence.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { type HttpResponse, readErrorText, upstreamError } from './http.ts'

const errorBody = z.object({
  error: z.object({
    type: z.string().nullish().catch(null),
    message: z.string().catch(''),
    details: z.object({ error_code: z.string() }).nullish().catch(null),
  }),
})

/** An error inside a stream has no status any more: the one that it would have had. */
const statusOfType = new Map([
  ['invalid_request_error', 400],
  ['authentication_error', 401],
  ['billing_error', 402],
  ['permission_error', 403],
  ['not_found_error', 404],
  ['conflict_error', 409],
  ['request_too_large', 413],
  ['rate_limit_error', 429],
  ['api_error', 500],
  ['timeout_error', 504],
  ['overloaded_error', 529],
])

/** Rate limits in name only: no waiting helps until somebody raises them. */
const spendLimits = new Set(['contract_spend_limit_reached', 'enforced_spend_limit_reached'])

// These causes have no code, only sentences. "prompt is too long: 210266 tokens > 200000 maximum" and
// "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, …"
const contextSentence = /prompt is too long|input length and `max_tokens` exceed context limit/i
// "Output blocked by content filtering policy"
const policySentence = /blocked by (?:our )?content filtering policy/i
// "Your credit balance is too low to access the Anthropic API.", before billing_error came
const creditSentence = /credit balance is too low/i

/** Reads at most 64 kB of an error reply and maps it. Never throws but for an abort. */
export async function readAnthropicError(response: HttpResponse): Promise<PenstockError> {
  const text = await readErrorText(response.body)
  return anthropicError(response.status, response.headers, text, Date.now())
}

/** An `error` event's data. */
export function streamedAnthropicError(data: string): PenstockError {
  const type = faultOf(data)?.type ?? ''
  return anthropicError(statusOfType.get(type) ?? 502, {}, data, Date.now())
}

/** @param now epoch milliseconds */
export function anthropicError(
  status: number,
  headers: Record<string, string>,
  text: string,
  now: number,
): PenstockError {
  const general = upstreamError(status, { ...resetOf(status, headers, now), ...headers }, text)
  const fault = faultOf(text)
  const { message } = general.info
  const spent = spendLimits.has(fault?.details?.error_code ?? '')
  if (spent || (status === 400 && creditSentence.test(message))) {
    const told = `The account that Penstock's key belongs to is spent, not yours. It said: ${message}`
    return new PenstockError('upstream_auth_failed', told, { status, cause: general })
  }
  if (status === 400 && contextSentence.test(message)) {
    return new PenstockError('context_window_exceeded', message, { cause: general })
  }
  if (status === 400 && policySentence.test(message)) {
    return new PenstockError('content_policy_violation', message, { cause: general })
  }
  return general
}

/**
 * The wait until an exhausted limit is filled again, where no Retry-After says it
 * (`anthropic-ratelimit-<what>-remaining` and `-reset`, RFC 3339; docs: api/rate-limits).
 */
function resetOf(
  status: number,
  headers: Record<string, string>,
  now: number,
): Record<string, string> {
  if (status !== 429 || headers['retry-after'] !== undefined) return {}
  const waits = Object.entries(headers).flatMap(([name, value]) => {
    const limit = /^(anthropic-ratelimit-[\w-]+)-remaining$/.exec(name)?.[1]
    if (limit === undefined || Number(value) !== 0) return []
    const reset = Date.parse(headers[`${limit}-reset`] ?? '')
    return Number.isNaN(reset) ? [] : [Math.max(0, reset - now)]
  })
  return waits.length === 0 ? {} : { 'retry-after-ms': String(Math.max(...waits)) }
}

function faultOf(text: string) {
  try {
    return errorBody.safeParse(JSON.parse(text)).data?.error ?? null
  } catch {
    return null
  }
}

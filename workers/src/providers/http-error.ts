// An upstream's error reply as a PenstockError: the one mapping from HTTP status and the error shapes
// of OpenAI, vLLM, llama.cpp, TGI, FastAPI and Ollama to Penstock's codes.
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { rateLimitReset } from './rate-limit-reset.ts'

const maxMessage = 2_000
const maxParam = 256
const maxErrorBody = 64 * 1024
const maxRetryAfterMs = 24 * 3_600_000

/** What an error body may say; everything is optional, and anything else is ignored. */
interface UpstreamFault {
  message: string
  param: string | null
  /** Its `code` and `type`, where they are words and not a repeated status. */
  codes: readonly string[]
}

const word = z.string().nullish().catch(null)
/** Mistral puts FastAPI's `detail` into the message. */
const detailed = z.union([z.object({ detail: z.unknown() }), z.array(z.unknown())])
const described = z.object({
  message: z
    .union([z.string(), detailed.transform((it) => detailText('detail' in it ? it.detail : it))])
    .nullish()
    .catch(null),
  param: word,
  type: word,
  code: z.union([z.string(), z.number()]).nullish().catch(null),
  detail: z.unknown().optional(),
  innererror: z.object({ code: word }).nullish().catch(null),
  metadata: z.object({ flagged_input: z.string() }).nullish().catch(null),
})
const enveloped = z.object({ error: z.union([z.string(), z.looseObject({})]) })

// OpenAI: context_length_exceeded, string_above_max_length. llama.cpp: exceed_context_size_error.
const contextCodes = new Set([
  'context_length_exceeded',
  'string_above_max_length',
  'exceed_context_size_error',
  'model_max_prompt_tokens_exceeded',
])
// OpenAI: content_policy_violation, moderation_blocked, and invalid_prompt for a flagged one.
// Azure: content_filter with the inner code ResponsibleAIPolicyViolation.
const contentCodes = new Set([
  'content_filter',
  'content_policy_violation',
  'moderation_blocked',
  'invalid_prompt',
  'ResponsibleAIPolicyViolation',
])
// vLLM, SGLang and TGI send no code of their own for this, only these sentences:
// "This model's maximum context length is 4096 tokens. However, you requested …" (vLLM < 0.16),
// "… the model's context length is only 1024 tokens …" (vLLM 0.16), "… longer than the maximum model
// length of 32768" (vLLM), "… longer than the model's context length (8192 tokens)" (SGLang),
// "exceeds the available context size" (llama.cpp before its code), "`inputs` tokens +
// `max_new_tokens` must be <= 1512" (TGI), "This model's maximum prompt length is 131072 but …" (xAI),
// "… too large for model with 32768 maximum context length" (Mistral).
const contextSentence =
  /\b(?:maximum|model's|available)\s+(?:maximum\s+)?(?:context|model|prompt)\s+(?:length|size|window)\b|`inputs` tokens \+ `max_new_tokens` must be/i

// Keys as they are commonly shaped (`sk-…`, `gsk_…`, `AIza…`, `Bearer …`), partly starred ones too.
const keyShape =
  /\b(?:sk|pk|rk|gsk|xai|hf|nvapi|key|token)[-_][\w*.-]{6,}|\bAIza[\w-]{20,}|\bBearer\s+[^\s"',]+/gi
/** In a refusal of credentials any long unbroken run of letters and digits may be one. */
const opaqueRun = /(?=[\w*+/=-]*\d)(?=[\w*+/=-]*[a-z])[\w*+/=-]{16,}/gi

interface ErrorReply {
  status: number
  headers: Record<string, string>
  body: AsyncIterable<Uint8Array>
}

/** Reads at most 64 kB of an error reply's body and maps it. Never throws but for an abort. */
export async function readError(response: ErrorReply): Promise<PenstockError> {
  return upstreamError(response.status, response.headers, await readErrorText(response.body))
}

/** At most 64 kB of an error reply's body. Never throws but for an abort. */
export async function readErrorText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  try {
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true })
      if (text.length >= maxErrorBody) break
    }
  } catch (error) {
    // A cut-off error body still has its status; only the caller's own abort goes through.
    if (!(error instanceof PenstockError) || error.code !== 'upstream_cut_off') throw error
  }
  return text
}

/**
 * Maps an upstream's reply that is no success. 4xx and 5xx keep the upstream's status; its message
 * and `param` are passed on, at most 2,000 and 256 characters, with anything that looks like a key masked.
 */
export function upstreamError(
  status: number,
  headers: Record<string, string>,
  bodyText: string,
): PenstockError {
  const fault = readFault(bodyText)
  const code = codeFor(status, fault)
  return new PenstockError(code, messageFor(status, code, fault), {
    ...(keepsStatus(code, status) ? { status } : {}),
    param: fault.param?.slice(0, maxParam) ?? null,
    retryAfterMs: retryAfter(headers, Date.now()) ?? rateLimitReset(status, headers),
  })
}

/** An `{"error": …}` event inside a stream. A numeric `code` in it is the status, as vLLM does it. */
export function streamedError(eventText: string): PenstockError {
  const status = statusInside(eventText)
  return upstreamError(status, {}, eventText)
}

function statusInside(text: string): number {
  const code = Number(readBody(text)?.code)
  return Number.isInteger(code) && code >= 400 && code <= 599 ? code : 502
}

function readFault(text: string): UpstreamFault {
  const body = readBody(text)
  if (body === null) return { message: plainText(text), param: null, codes: [] }
  // OpenRouter has no code for a flagged prompt, which it answers with 403, but these metadata.
  const flagged = body.metadata ? 'content_policy_violation' : null
  const codes = [body.code, body.type, body.innererror?.code, flagged]
  return {
    message: body.message || detailText(body.detail) || plainText(text),
    param: body.param ?? null,
    codes: codes.filter((code) => typeof code === 'string'),
  }
}

/** The fields of `{"error": {…}}`, of `{"error": "…"}` or of the object itself; null: not JSON. */
function readBody(text: string): z.infer<typeof described> | null {
  const json = parseJson(text)
  const envelope = enveloped.safeParse(json)
  const inner = envelope.success ? envelope.data.error : json
  return described.safeParse(typeof inner === 'string' ? { message: inner } : inner).data ?? null
}

function codeFor(status: number, fault: UpstreamFault): ErrorCode {
  if (fault.codes.some((code) => contextCodes.has(code))) return 'context_window_exceeded'
  if (fault.codes.some((code) => contentCodes.has(code))) return 'content_policy_violation'
  if (status < 400) return 'upstream_invalid_response'
  if (status === 400 || status === 422) {
    return contextSentence.test(fault.message) ? 'context_window_exceeded' : 'upstream_bad_request'
  }
  // 402: the account that Penstock's key belongs to has no credit left.
  if (status === 401 || status === 402 || status === 403) return 'upstream_auth_failed'
  if (status === 404) return 'upstream_not_found'
  if (status === 408 || status === 504) return 'upstream_timeout'
  if (status === 413) return 'request_too_large'
  if (status === 429) return 'upstream_rate_limited'
  return status < 500 ? 'upstream_bad_request' : 'upstream_error'
}

/** A time-out is answered with 504 and a nonsense status with 502; context and policy with 400. */
function keepsStatus(code: ErrorCode, status: number): boolean {
  if (status < 400 || status > 599) return false
  if (code === 'context_window_exceeded' || code === 'content_policy_violation') return false
  return code !== 'upstream_timeout'
}

function messageFor(status: number, code: ErrorCode, fault: UpstreamFault): string {
  const said = passedOn(fault.message, code)
  const quoted = said === '' ? '' : ` It said: ${said}`
  switch (code) {
    case 'upstream_auth_failed':
      return `The upstream refused Penstock's credentials, not yours (${status}).${quoted}`
    case 'upstream_invalid_response':
      return `The upstream answered with the unexpected status ${status}.${quoted}`
    default:
      return said === '' ? `The upstream answered ${status}.` : said
  }
}

/** What the upstream said, fit to be passed on: cut to a bounded length, then without keys. */
function passedOn(text: string, code: ErrorCode): string {
  const masked = text.slice(0, maxMessage).replace(keyShape, '[masked]')
  return code === 'upstream_auth_failed' ? masked.replace(opaqueRun, '[masked]') : masked
}

/**
 * `retry-after-ms` (OpenAI's, milliseconds) or Retry-After (seconds or an HTTP date, RFC 9110 10.2.3)
 * in milliseconds, at most a day; null where there is none.
 */
function retryAfter(headers: Record<string, string>, now: number): number | null {
  const milliseconds = Number.parseFloat(headers['retry-after-ms'] ?? '')
  if (milliseconds >= 0) return bounded(milliseconds)
  const value = headers['retry-after']
  if (value === undefined) return null
  if (/^\s*[\d.]+\s*$/.test(value)) return bounded(Number.parseFloat(value) * 1_000)
  const date = Date.parse(value)
  return Number.isNaN(date) ? null : bounded(date - now)
}

function bounded(milliseconds: number): number | null {
  if (Number.isNaN(milliseconds)) return null
  return Math.round(Math.min(Math.max(milliseconds, 0), maxRetryAfterMs))
}

/** FastAPI's `detail`: a sentence, or a list of `{loc, msg}`. */
function detailText(detail: unknown): string {
  if (typeof detail === 'string') return detail
  return detail === undefined || detail === null ? '' : JSON.stringify(detail)
}

/** A proxy's HTML page says nothing to a client. */
function plainText(text: string): string {
  const trimmed = text.trim()
  return trimmed.startsWith('<') ? '' : trimmed
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

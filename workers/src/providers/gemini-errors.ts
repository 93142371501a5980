// What Gemini says when it fails (google.rpc.Status as JSON: `{"error": {code, message, status,
// details}}`), and what its blocks and odd ends mean.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { type HttpResponse, readErrorText, upstreamError } from './http.ts'
import { unexpectedFrom } from './unexpected-reply.ts'

const status = z.object({
  error: z.object({
    code: z.int().min(400).max(599).nullish().catch(null),
    message: z.string().nullish().catch(null),
    status: z.string().nullish().catch(null),
    details: z.array(z.unknown()).nullish().catch(null),
  }),
})
// google/rpc/error_details.proto. Durations are JSON strings: `34.4s`.
const retryInfo = z.object({
  '@type': z.literal('type.googleapis.com/google.rpc.RetryInfo'),
  retryDelay: z.string().regex(/^\d+(?:\.\d+)?s$/),
})
const errorInfo = z.object({
  '@type': z.literal('type.googleapis.com/google.rpc.ErrorInfo'),
  reason: z.string(),
})
/** Its only sign: it has no code of its own ("The input token count (…) exceeds the maximum …"). */
const contextSentence = /\binput token count\b.*\bexceeds the maximum number of tokens\b/i
/** ErrorInfo's reasons for a key that is none: they come with 400. */
const keyReasons = new Set(['API_KEY_INVALID', 'API_KEY_EXPIRED'])

export async function readGeminiError(response: HttpResponse): Promise<PenstockError> {
  const text = await readErrorText(response.body)
  return geminiError(response.status, response.headers, text)
}

/** An error reply; inside a stream `reported` is its own code, and there are no headers. */
export function geminiError(
  reported: number,
  headers: Record<string, string>,
  text: string,
): PenstockError {
  const json = first(parseJson(text))
  const parsed = status.safeParse(json).data?.error
  const body = json === undefined ? text : JSON.stringify(json)
  const mapped = upstreamError(statusOf(parsed, reported), headers, body)
  const { message, status: kept } = mapped.info
  const retryAfterMs = mapped.info.retryAfterMs ?? delayOf(parsed?.details ?? [])
  const details = { retryAfterMs, cause: mapped }
  if (contextSentence.test(parsed?.message ?? '')) {
    return new PenstockError('context_window_exceeded', message, details)
  }
  return new PenstockError(mapped.code, message, { ...details, status: kept })
}

/** The prompt was blocked (`promptFeedback.blockReason`), or an answer before its first word. */
export function blockedError(reason: string): PenstockError {
  const message = `Gemini's filters blocked the request (${reason}).`
  return new PenstockError('content_policy_violation', message)
}

/** An end that is none: the model's call could not be read, and another try may well succeed. */
export function spoiledError(reason: string): PenstockError {
  const message = `Gemini gave up on its answer (${reason}).`
  return new PenstockError('upstream_invalid_response', message)
}

export function unexpected(what: string, cause?: unknown): PenstockError {
  return unexpectedFrom('Gemini', what, cause)
}

function statusOf(error: z.infer<typeof status>['error'] | undefined, reported: number): number {
  const reasons = (error?.details ?? []).flatMap((it) => errorInfo.safeParse(it).data?.reason ?? [])
  if (reasons.some((reason) => keyReasons.has(reason))) return 401
  // In a stream, and in its list of one error, the HTTP status is 200.
  return reported >= 400 ? reported : (error?.code ?? 502)
}

function delayOf(details: readonly unknown[]): number | null {
  for (const detail of details) {
    const info = retryInfo.safeParse(detail).data
    if (info !== undefined) return Math.round(Number.parseFloat(info.retryDelay) * 1_000)
  }
  return null
}

/** A stream's errors may stand in a list of one, as its answers do without `alt=sse`. */
function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : value
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// What AWS says when Bedrock fails: the SDK's exceptions by their names (Amazon Bedrock API Reference,
// "Common errors" and Converse's own), which come inside streams, too.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { upstreamError } from './http.ts'

const exception = z.object({
  name: z.string(),
  message: z.string().catch(''),
  $metadata: z.object({ httpStatusCode: z.number().optional() }).optional().catch(undefined),
  $response: z
    .object({ headers: z.record(z.string(), z.string()) })
    .optional()
    .catch(undefined),
})

/** Inside a stream an exception has no status any more; and some of AWS's statuses say too little. */
const statusOfName = new Map([
  ['AccessDeniedException', 403],
  ['ExpiredTokenException', 403],
  ['InternalServerException', 500],
  ['InvalidSignatureException', 403],
  ['ModelErrorException', 502],
  ['ModelNotReadyException', 429],
  ['ModelStreamErrorException', 502],
  ['ModelTimeoutException', 408],
  ['ResourceNotFoundException', 404],
  ['ServiceQuotaExceededException', 429],
  ['ServiceUnavailableException', 503],
  ['ThrottlingException', 429],
  ['UnrecognizedClientException', 403],
  ['ValidationException', 400],
])

/** The SDK found no credentials, or could not refresh them; what it says may quote them. */
const credentialErrors = new Set(['CredentialsProviderError', 'TokenProviderError'])

// A ValidationException has no further code. "Input is too long for requested model.", "prompt is too
// long: …", "input length and `max_tokens` exceed context limit: …", "too many total text bytes"
const contextSentence =
  /input is too long for requested model|prompt is too long|exceed context limit|too many total text bytes/i
// "The provided model identifier is invalid.", "… with on-demand throughput isn’t supported."
const modelSentence = /model identifier is invalid|on-demand throughput isn.t supported/i

/** Anything that the SDK or the stream threw; a PenstockError stays as it is. */
export function bedrockError(error: unknown): PenstockError {
  if (error instanceof PenstockError) return error
  if (error instanceof Error && error.cause instanceof PenstockError) return error.cause
  const parsed = exception.safeParse(error).data
  const name = parsed === undefined ? '' : capitalized(parsed.name)
  if (parsed !== undefined && credentialErrors.has(name)) {
    const message = 'Penstock has no valid AWS credentials for this deployment.'
    return new PenstockError('upstream_auth_failed', message, { cause: error })
  }
  const status = statusOfName.get(name) ?? parsed?.$metadata?.httpStatusCode
  if (parsed === undefined || status === undefined || status < 400) {
    const message = "Bedrock sent an answer that is not of its API's form."
    return new PenstockError('upstream_invalid_response', message, { cause: error })
  }
  return mappedError(status, parsed.$response?.headers ?? {}, parsed.message, error)
}

function mappedError(
  status: number,
  headers: Record<string, string>,
  said: string,
  cause: unknown,
): PenstockError {
  const general = upstreamError(status, headers, JSON.stringify({ message: said }))
  const { message } = general.info
  if (status === 400 && contextSentence.test(message)) {
    return new PenstockError('context_window_exceeded', message, { cause })
  }
  if (status === 400 && modelSentence.test(message)) {
    return new PenstockError('upstream_not_found', message, { cause })
  }
  return general
}

/** Events name their exceptions with a small letter. */
function capitalized(name: string): string {
  return name.slice(0, 1).toUpperCase() + name.slice(1)
}

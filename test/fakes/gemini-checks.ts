// What the Gemini API refuses: unknown names, calls of Gemini 3 without their signature, results that
// do not match their calls.
import type { StatusFault } from './openai-behaviour.ts'
import type { UpstreamCall } from './upstream-server.ts'

type Fields = Record<string, unknown>

const words = (text: string) => new Set(text.trim().split(/\s+/))
const known = words(`contents systemInstruction tools toolConfig safetySettings cachedContent
  generationConfig labels`)
const knownConfig = words(`maxOutputTokens stopSequences responseMimeType responseJsonSchema
  responseModalities temperature topP topK candidateCount seed presencePenalty frequencyPenalty
  responseLogprobs logprobs thinkingConfig mediaResolution speechConfig imageConfig`)
const names = new Map([
  [400, 'INVALID_ARGUMENT'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [429, 'RESOURCE_EXHAUSTED'],
  [500, 'INTERNAL'],
  [503, 'UNAVAILABLE'],
])

/** An error reply in Google's form (google.rpc.Status). */
export function geminiFailure(
  status: number,
  message: string,
  details: readonly Fields[] = [],
): StatusFault {
  const error = { code: status, message, status: names.get(status) ?? 'UNKNOWN' }
  const body = JSON.stringify({ error: details.length > 0 ? { ...error, details } : error })
  return { kind: 'status', status, body, headers: {} }
}

/** A 429 that says how long to wait, as Google says it. */
export function geminiRateLimit(seconds: number): StatusFault {
  const info = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${seconds}s` }
  return geminiFailure(429, 'You exceeded your current quota.', [info])
}

export function refusalOf(call: UpstreamCall, apiKey: string | undefined): StatusFault | null {
  const { path, query, headers, body } = call
  if (apiKey !== undefined && headers['x-goog-api-key'] !== apiKey) {
    const reason = {
      '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
      reason: 'API_KEY_INVALID',
    }
    return geminiFailure(400, 'API key not valid. Please pass a valid API key.', [reason])
  }
  const [, model = '', method] = /^\/v1beta\/models\/([^/:]+):(\w+)$/.exec(path) ?? []
  switch (method) {
    case 'embedContent':
    case 'batchEmbedContents':
      return null
    case 'generateContent':
      return invalidChat(body, model)
    case 'streamGenerateContent':
      return query.get('alt') === 'sse' ? invalidChat(body, model) : geminiFailure(404, 'not SSE')
    default:
      return geminiFailure(404, `${path} is not found for API version v1beta.`)
  }
}

function invalidChat(body: Fields, model: string): StatusFault | null {
  const config = (body.generationConfig ?? {}) as Fields
  const unknown =
    Object.keys(body).find((name) => !known.has(name)) ??
    Object.keys(config).find((name) => !knownConfig.has(name))
  if (unknown !== undefined) {
    const message = `Invalid JSON payload received. Unknown name "${unknown}": Cannot find field.`
    return geminiFailure(400, message)
  }
  const contents = (body.contents ?? []) as { role: string; parts: Fields[] }[]
  if (contents.length === 0) return geminiFailure(400, 'contents is not specified')
  for (const [index, { parts }] of contents.entries()) {
    const calls = parts.filter((part) => part.functionCall !== undefined)
    const [first] = calls
    if (first !== undefined && /^gemini-3/.test(model) && !first.thoughtSignature) {
      return geminiFailure(
        400,
        'Function call is missing a thought_signature in functionCall parts.',
      )
    }
    const results = contents[index + 1]?.parts.filter((part) => part.functionResponse) ?? []
    if (calls.length !== results.length) {
      const message =
        'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.'
      return geminiFailure(400, message)
    }
  }
  return null
}

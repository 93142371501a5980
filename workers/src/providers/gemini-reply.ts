// What Gemini answers, whole or in pieces, in OpenAI's terms: a GenerateContentResponse holds the next
// parts of each candidate (ai.google.dev/api/generate-content#GenerateContentResponse).
import { z } from 'zod'
import { createdNow, newId } from './answer-head.ts'
import { blockedError, spoiledError, unexpected } from './gemini-errors.ts'
import { usageFields, usageOf } from './gemini-usage.ts'
import { parseFrom } from './unexpected-reply.ts'

const part = z.object({
  text: z.string().nullish(),
  thought: z.boolean().nullish(),
  thoughtSignature: z.string().nullish(),
  functionCall: z
    .object({
      id: z.string().nullish(),
      name: z.string(),
      args: z.record(z.string(), z.unknown()).nullish(),
    })
    .nullish(),
  inlineData: z.object({ mimeType: z.string(), data: z.string() }).nullish(),
})
const logprob = z.object({
  token: z.string().default(''),
  logProbability: z.number().default(0),
})
const candidate = z.object({
  index: z.int().nullish(),
  content: z.object({ parts: z.array(part).nullish() }).nullish(),
  finishReason: z.string().nullish(),
  logprobsResult: z
    .object({
      chosenCandidates: z.array(logprob).nullish(),
      topCandidates: z.array(z.object({ candidates: z.array(logprob).nullish() })).nullish(),
    })
    .nullish(),
})
const response = z.object({
  candidates: z.array(candidate).nullish(),
  promptFeedback: z.object({ blockReason: z.string().nullish() }).nullish(),
  modelVersion: z.string().nullish(),
  responseId: z.string().nullish(),
  usageMetadata: z.unknown().optional(),
})
export type GeminiResponse = z.infer<typeof response>
export type Candidate = z.infer<typeof candidate>

/** What a candidate's parts say; as a delta its calls need an index. */
export interface Said {
  content: string
  thought: string
  calls: Record<string, unknown>[]
  images: Record<string, unknown>[]
}

// `FinishReason` in js-genai's types. What is not here ended as it should.
const filtered = new Set([
  'SAFETY',
  'RECITATION',
  'LANGUAGE',
  'BLOCKLIST',
  'PROHIBITED_CONTENT',
  'SPII',
  'IMAGE_SAFETY',
  'IMAGE_PROHIBITED_CONTENT',
  'IMAGE_RECITATION',
])
const spoiled = new Set([
  'MALFORMED_FUNCTION_CALL',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MISSING_THOUGHT_SIGNATURE',
  'MALFORMED_RESPONSE',
])

/** @throws PenstockError `content_policy_violation` where the prompt was blocked */
export function parseResponse(value: unknown): GeminiResponse {
  const parsed = parseFrom('Gemini', response, value)
  const reason = parsed.promptFeedback?.blockReason
  if (reason && !parsed.candidates?.length) throw blockedError(reason)
  return parsed
}

/** A whole answer as a chat.completion. @throws PenstockError as `finishOf` does */
export function chatCompletion(value: unknown, model: string) {
  const parsed = parseResponse(value)
  const candidates = parsed.candidates ?? []
  if (candidates.length === 0) throw unexpected('an answer without candidates')
  const usage = usageOf(parsed)
  const choices = candidates.map((one, position) => {
    const said = saidIn(one)
    const { content, thought, calls, images } = said
    return {
      index: one.index ?? position,
      message: {
        role: 'assistant',
        content: content || (calls.length > 0 ? null : ''),
        ...(thought === '' ? {} : { reasoning_content: thought }),
        ...(calls.length === 0 ? {} : { tool_calls: calls }),
        ...(images.length === 0 ? {} : { images }),
      },
      logprobs: logprobsOf(one),
      finish_reason: finishOf(one.finishReason ?? 'STOP', calls.length > 0, isEmpty(said)),
    }
  })
  const body = {
    id: idOf(parsed),
    object: 'chat.completion',
    created: createdNow(),
    model: parsed.modelVersion ?? model,
    choices,
    ...(usage === null ? {} : { usage: usageFields(usage) }),
  }
  return { body, usage }
}

export function idOf({ responseId }: GeminiResponse): string {
  return responseId ? `chatcmpl-${responseId}` : newId('chatcmpl-')
}

export function saidIn({ content }: Candidate): Said {
  const said: Said = { content: '', thought: '', calls: [], images: [] }
  for (const { text, thought, thoughtSignature, functionCall, inlineData } of content?.parts ??
    []) {
    if (functionCall) {
      said.calls.push({
        id: functionCall.id || newId('call_'),
        type: 'function',
        function: { name: functionCall.name, arguments: JSON.stringify(functionCall.args ?? {}) },
        // The place that Google's own OpenAI endpoint gives it ("Thought signatures").
        ...(thoughtSignature
          ? { extra_content: { google: { thought_signature: thoughtSignature } } }
          : {}),
      })
    }
    if (inlineData) said.images.push(imageOf(inlineData))
    if (text) said[thought ? 'thought' : 'content'] += text
  }
  return said
}

/** OpenRouter's and LiteLLM's form of an image in an answer; OpenAI's chats have none. */
function imageOf({ mimeType, data }: { mimeType: string; data: string }) {
  return { type: 'image_url', image_url: { url: `data:${mimeType};base64,${data}` } }
}

export function isEmpty({ content, thought, calls, images }: Said): boolean {
  return content === '' && thought === '' && calls.length === 0 && images.length === 0
}

/**
 * OpenAI's word for why it ended.
 * @param saidNothing a filter that lets nothing through has refused the request
 * @throws PenstockError `content_policy_violation` in that case; `upstream_invalid_response` where the
 *   model spoiled its own answer
 */
export function finishOf(reason: string, calledTools: boolean, saidNothing: boolean): string {
  if (reason === 'MAX_TOKENS') return 'length'
  if (spoiled.has(reason)) throw spoiledError(reason)
  if (filtered.has(reason)) {
    if (saidNothing) throw blockedError(reason)
    return 'content_filter'
  }
  return calledTools ? 'tool_calls' : 'stop'
}

export function logprobsOf({ logprobsResult: result }: Candidate) {
  const chosen = result?.chosenCandidates ?? []
  if (chosen.length === 0) return null
  return {
    content: chosen.map((one, position) => ({
      ...logprobFields(one),
      top_logprobs: (result?.topCandidates?.[position]?.candidates ?? []).map(logprobFields),
    })),
  }
}

function logprobFields({ token, logProbability }: z.infer<typeof logprob>) {
  return { token, logprob: logProbability, bytes: [...Buffer.from(token)] }
}

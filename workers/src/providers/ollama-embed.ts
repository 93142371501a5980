// /api/embed: OpenAI's embeddings, as numbers or as base64 of little-endian float32.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { embeddingsOf, isBase64, isVector } from './canonical-embeddings.ts'
import { type EndpointCall, parseReply, unexpected } from './ollama-endpoint.ts'
import { mapParameters, type ParameterRules } from './ollama-parameters.ts'
import { usageOf } from './ollama-usage.ts'
import type { ProviderCall } from './provider.ts'
import { parseField } from './request-fields.ts'

const rules: ParameterRules = {
  own: new Set(['input', 'encoding_format']),
  native: new Set(['dimensions', 'keep_alive', 'truncate']),
  refused: new Map(),
}

// Ollama leaves an empty string out of its answer, so OpenAI's rule is kept: none is empty.
const texts = z.union([
  z
    .string()
    .min(1)
    .transform((one) => [one]),
  z.array(z.unknown()).min(1),
])
const embedReply = z.object({
  embeddings: z.array(z.array(z.unknown())),
  prompt_eval_count: z.unknown().optional(),
})

/** @throws PenstockError `invalid_request`, `unsupported_parameter` */
export function embedCall(call: ProviderCall): EndpointCall {
  const { body, fields } = mapParameters(call, rules)
  const input = textInput(body.input)
  const asBase64 = isBase64(body.encoding_format)
  return {
    path: '/api/embed',
    request: { model: call.model, input, ...fields },
    reply: (parsed) => embeddingList(parsed, call.model, input.length, asBase64),
    stream: null,
  }
}

function textInput(value: unknown): string[] {
  const input: unknown[] = parseField(texts, value, 'input')
  if (input.every((one) => typeof one === 'string')) return input
  const message = 'Ollama embeds text, not tokens: send `input` as a string or a list of strings.'
  throw new PenstockError('unsupported_parameter', message, { param: 'input' })
}

function embeddingList(parsed: unknown, model: string, expected: number, asBase64: boolean) {
  const reply = parseReply(embedReply, parsed)
  if (reply.embeddings.length !== expected) {
    throw unexpected(`${reply.embeddings.length} embeddings for ${expected} inputs`)
  }
  if (!reply.embeddings.every(isVector)) {
    throw unexpected('an embedding that is not a list of numbers')
  }
  const data = embeddingsOf(reply.embeddings, asBase64)
  const usage = usageOf(reply)
  const tokens = usage?.promptTokens
  const counted =
    tokens === undefined ? {} : { usage: { prompt_tokens: tokens, total_tokens: tokens } }
  return { body: { object: 'list', data, model, ...counted }, usage }
}

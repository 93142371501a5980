// /api/embed: OpenAI's embeddings, as numbers or as base64 of little-endian float32.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { base64Float32 } from './base64-float32.ts'
import { type EndpointCall, parseReply, unexpected } from './ollama-endpoint.ts'
import { mapParameters, type ParameterRules, parseField } from './ollama-parameters.ts'
import { usageOf } from './ollama-usage.ts'
import type { ProviderCall } from './provider.ts'

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
const encoding = z.enum(['float', 'base64']).default('float')
// Checked number by number below: zod would make an issue list of a million of them.
const embedReply = z.object({
  embeddings: z.array(z.array(z.unknown())),
  prompt_eval_count: z.unknown().optional(),
})

/** @throws PenstockError `invalid_request`, `unsupported_parameter` */
export function embedCall(call: ProviderCall): EndpointCall {
  const { body, fields } = mapParameters(call, rules)
  const input = textInput(body.input)
  const form = parseField(encoding, body.encoding_format, 'encoding_format')
  return {
    path: '/api/embed',
    request: { model: call.model, input, ...fields },
    reply: (parsed) => embeddingList(parsed, call.model, input.length, form),
    stream: null,
  }
}

function textInput(value: unknown): string[] {
  const input: unknown[] = parseField(texts, value, 'input')
  if (input.every((one) => typeof one === 'string')) return input
  const message = 'Ollama embeds text, not tokens: send `input` as a string or a list of strings.'
  throw new PenstockError('unsupported_parameter', message, { param: 'input' })
}

function embeddingList(
  parsed: unknown,
  model: string,
  expected: number,
  form: z.infer<typeof encoding>,
) {
  const reply = parseReply(embedReply, parsed)
  if (reply.embeddings.length !== expected) {
    throw unexpected(`${reply.embeddings.length} embeddings for ${expected} inputs`)
  }
  const data = reply.embeddings.map((vector, index) => {
    if (!isNumbers(vector)) throw unexpected('an embedding that is not a list of numbers')
    return {
      object: 'embedding',
      index,
      embedding: form === 'base64' ? base64Float32(vector) : vector,
    }
  })
  const usage = usageOf(reply)
  const tokens = usage?.promptTokens
  const counted =
    tokens === undefined ? {} : { usage: { prompt_tokens: tokens, total_tokens: tokens } }
  return { body: { object: 'list', data, model, ...counted }, usage }
}

function isNumbers(vector: unknown[]): vector is number[] {
  return vector.every((value) => typeof value === 'number')
}

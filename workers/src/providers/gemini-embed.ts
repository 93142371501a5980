// OpenAI's embeddings on Gemini's embedContent and batchEmbedContents (ai.google.dev/api/embeddings).
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage, type TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'
import { embeddingsOf, isBase64, isVector } from './canonical-embeddings.ts'
import { unexpected } from './gemini-errors.ts'
import { usageOf } from './gemini-usage.ts'
import type { ProviderCall } from './provider.ts'
import { withoutRefused } from './refusals.ts'
import { parseField } from './request-fields.ts'

/** "at most 100 requests can be in one batch" */
const maxBatch = 100

/** OpenAI takes 2,048 inputs. */
const texts = z.union([
  z
    .string()
    .min(1)
    .transform((one) => [one]),
  z.array(z.unknown()).min(1).max(2_048),
])
const vector = z.object({ values: z.array(z.unknown()) })
const single = z.object({ embedding: vector })
const batch = z.object({ embeddings: z.array(vector) })

/** One call to the upstream: the method behind the model's name, and its body. */
export interface EmbedStep {
  method: 'embedContent' | 'batchEmbedContents'
  body: Record<string, unknown>
  /** Embeddings that it is to answer. */
  count: number
}

/** @throws PenstockError `invalid_request`, `unsupported_parameter` for tokens in place of text */
export function embedSteps(call: ProviderCall, path: string): EmbedStep[] {
  const body = withoutRefused(call, new Map())
  const settings = {
    ...(body.dimensions === undefined ? {} : { outputDimensionality: body.dimensions }),
    ...(body.task_type === undefined ? {} : { taskType: body.task_type }),
  }
  const requests = textInput(body.input).map((text) => ({
    model: path,
    content: { parts: [{ text }] },
    ...settings,
  }))
  const [only] = requests
  if (only !== undefined && requests.length === 1) {
    return [{ method: 'embedContent', body: only, count: 1 }]
  }
  const steps: EmbedStep[] = []
  for (let at = 0; at < requests.length; at += maxBatch) {
    const part = requests.slice(at, at + maxBatch)
    steps.push({ method: 'batchEmbedContents', body: { requests: part }, count: part.length })
  }
  return steps
}

/** The vectors that a step answered. @throws PenstockError `upstream_invalid_response` */
export function vectorsOf(step: EmbedStep, parsed: unknown): number[][] {
  const one = single.safeParse(parsed).data
  const found = one === undefined ? batch.safeParse(parsed).data?.embeddings : [one.embedding]
  if (found?.length !== step.count) {
    throw unexpected(`${found?.length ?? 'no'} embeddings for ${step.count} inputs`)
  }
  return found.map(({ values }) => {
    if (!isVector(values)) throw unexpected('an embedding that is not a list of numbers')
    return values
  })
}

/** OpenAI's reply; `usage` is null where a step reported none. */
export function embeddingList(
  call: ProviderCall,
  vectors: readonly number[][],
  replies: readonly unknown[],
): { body: object; usage: TokenUsage | null } {
  const data = embeddingsOf(vectors, isBase64(call.body.encoding_format))
  const counts = replies.map((reply) => usageOf(reply)?.promptTokens)
  const isCounted = counts.every((count) => count !== undefined)
  const tokens = counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  const usage = isCounted ? { usage: { prompt_tokens: tokens, total_tokens: tokens } } : {}
  return {
    body: { object: 'list', data, model: call.model, ...usage },
    usage: isCounted ? { ...noUsage, promptTokens: tokens } : null,
  }
}

function textInput(value: unknown): string[] {
  const input: unknown[] = parseField(texts, value, 'input')
  if (input.every((one) => typeof one === 'string')) return input
  const message = 'Gemini embeds text, not tokens: send `input` as a string or a list of strings.'
  throw new PenstockError('unsupported_parameter', message, { param: 'input' })
}

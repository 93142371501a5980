// The requests that Penstock takes, validated at the boundary. Unknown fields are kept: they may
// mean something to an upstream. Limits are generous; they stop nonsense, not use.
import { parseFields } from '@penstock/shared/parse-fields'
import { z } from 'zod'

const tokens = z.int().min(1).max(100_000_000).nullish()
const penalty = z.number().min(-2).max(2).nullish()
const text = z.string()

const part = z.looseObject({ type: text }, 'expected a content part with a type')
const roles = ['system', 'developer', 'user', 'assistant', 'tool', 'function'] as const
const message = z.looseObject({
  role: z.enum(roles, `expected one of ${roles.join(', ')}`),
  content: z
    .union([text, z.array(part), z.null()], 'expected a string or a list of parts')
    .optional(),
  tool_calls: z.array(z.looseObject({})).nullish(),
  tool_call_id: text.nullish(),
})

const common = {
  model: text.min(1).max(512),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  max_tokens: tokens,
  stop: z.union([text, z.array(text).max(64)], 'expected a string or a list of strings').nullish(),
  seed: z.int().nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: z.record(text, z.number()).nullish(),
  user: text.max(1024).nullish(),
  service_tier: text.nullish(),
  priority: z.int().min(-1_000_000).max(1_000_000).nullish(),
  metadata: z.record(text, z.unknown()).nullish(),
}

export const chatRequest = z.looseObject({
  ...common,
  messages: z.array(message).min(1).max(100_000),
  max_completion_tokens: tokens,
  tools: z
    .array(z.looseObject({ type: text }))
    .max(4096)
    .nullish(),
  tool_choice: z.union([text, z.looseObject({})], 'expected a string or an object').nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: z.looseObject({ type: text }).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
})

const tokenIds = z.array(z.int().min(0))

export const completionRequest = z.looseObject({
  ...common,
  prompt: z.union(
    [text, z.array(text).min(1).max(2048), tokenIds.min(1), z.array(tokenIds).min(1).max(2048)],
    'expected a string, a list of strings or token ids',
  ),
  suffix: text.nullish(),
  best_of: z.int().min(1).max(128).nullish(),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
})

export const embeddingRequest = z.looseObject({
  model: common.model,
  input: z.union(
    [text, z.array(text).min(1).max(100_000), tokenIds.min(1), z.array(tokenIds).min(1).max(2048)],
    'expected a string, a list of strings or token ids',
  ),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).max(1_000_000).nullish(),
  user: common.user,
  metadata: common.metadata,
})

/** What the gateway itself reads of any of these requests. */
export interface KnownFields {
  model: string
  stream?: boolean | null | undefined
  stream_options?: { include_usage?: boolean | null | undefined } | null | undefined
  user?: string | null | undefined
  service_tier?: string | null | undefined
  priority?: number | null | undefined
  max_tokens?: number | null | undefined
  max_completion_tokens?: number | null | undefined
  n?: number | null | undefined
  best_of?: number | null | undefined
  messages?: { content?: string | Record<string, unknown>[] | null | undefined }[] | undefined
  prompt?: unknown
  input?: unknown
  query?: unknown
  documents?: unknown
  metadata?: Record<string, unknown> | null | undefined
}

/**
 * @throws PenstockError `invalid_request`, its `param` the path of the first fault
 *   (`messages[2].role`).
 */
export function parseRequest<S extends z.ZodType<KnownFields>>(
  schema: S,
  value: unknown,
): z.output<S> {
  return parseFields(schema, value, 'request')
}

/** A query string's fields. @throws PenstockError `invalid_request` naming the field. */
export function parseQuery<S extends z.ZodType>(schema: S, query: unknown): z.output<S> {
  return parseFields(schema, query, 'query')
}

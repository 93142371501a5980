// The fields of an OpenAI chat request as a translating provider meets them: what means nothing to an
// upstream is left out, what it cannot do is refused or, where the deployment says so, dropped.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import type { ProviderCall } from './provider.ts'
import {
  always,
  type Refusals,
  unlessAutoOrNone,
  unlessEmpty,
  unlessFalse,
  unlessOne,
  unlessTextOnly,
  unlessZero,
  withoutRefused,
} from './refusals.ts'
import { isFields, parseField, stopSequences } from './request-fields.ts'

export type Body = Record<string, unknown>

/** What a JSON answer is to look like; `schema` is null for any object. */
export interface JsonFormat {
  name: string
  description: string | undefined
  schema: Record<string, unknown> | null
}

/** Bookkeeping and hints that change nothing about the answer, and what the gateway has read. */
const notSent = new Set([
  'model',
  'stream',
  'stream_options',
  'store',
  'priority',
  'prediction',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
  'verbosity',
])

/** What a translation of a chat maps itself, or leaves to the gateway; the rest is the upstream's own. */
export const mappedFields: ReadonlySet<string> = new Set([
  'max_completion_tokens',
  'max_tokens',
  'messages',
  'metadata',
  'parallel_tool_calls',
  'reasoning',
  'reasoning_effort',
  'response_format',
  'service_tier',
  'stop',
  'thinking',
  'tool_choice',
  'tools',
  'user',
])

/** What neither Anthropic nor Bedrock's Converse has. */
const refusedEverywhere: Refusals = new Map([
  ['audio', always],
  ['frequency_penalty', unlessZero],
  // The deprecated forms of `tools` and `tool_choice`.
  ['function_call', unlessAutoOrNone],
  ['functions', unlessEmpty],
  ['logit_bias', unlessEmpty],
  ['logprobs', unlessFalse],
  ['modalities', unlessTextOnly],
  ['n', unlessOne],
  ['presence_penalty', unlessZero],
  ['seed', always],
  ['top_logprobs', unlessZero],
  ['web_search_options', always],
])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({
      name: z.string().default('answer'),
      description: z.string().optional(),
      schema: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
])
const reasoning = z.object({ effort: z.string().nullish() })

/** @throws PenstockError `unsupported_parameter`: these APIs have chats only. */
export function chatOnly({ operation, deployment }: ProviderCall): void {
  if (operation === 'chat') return
  const message = `The deployment ${deployment.model} serves chats only, not ${operation}.`
  throw new PenstockError('unsupported_parameter', message)
}

/**
 * The request's fields without what is dropped and what an upstream has no use for; and apart from
 * them its `extra_body`, meant for the upstream as it is.
 * @throws PenstockError `unsupported_parameter` naming the `param`
 */
export function wantedBody(call: ProviderCall, own: Refusals): { body: Body; extra: Body } {
  const body: Body = {}
  const wanted = withoutRefused(call, new Map([...refusedEverywhere, ...own]))
  const { extra_body: extra, ...fields } = wanted
  for (const [name, value] of Object.entries(fields)) {
    // Not refused everywhere, so it asks for what the upstream does anyway: `n: 1`.
    if (!notSent.has(name) && !refusedEverywhere.has(name)) body[name] = value
  }
  return { body, extra: isFields(extra) ? extra : {} }
}

/** The fields of `body` that are not in `mapped`. */
export function without(body: Body, mapped: ReadonlySet<string>): Body {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !mapped.has(name)))
}

/** `stop` as a list; blank ones are left out, since neither API takes them. */
export function stopsOf(body: Body): string[] {
  if (body.stop === undefined) return []
  return parseField(stopSequences, body.stop, 'stop').filter((stop) => stop.trim() !== '')
}

/** Null: text. */
export function jsonFormatOf(body: Body): JsonFormat | null {
  if (body.response_format === undefined) return null
  const format = parseField(responseFormat, body.response_format, 'response_format')
  if (format.type === 'text') return null
  if (format.type === 'json_object') return { name: 'answer', description: undefined, schema: null }
  const { name, description, schema } = format.json_schema
  return { name, description, schema: schema ?? null }
}

/** `reasoning_effort`, or the Responses API's `reasoning: {effort}`; null where neither is set. */
export function effortOf(body: Body): string | null {
  if (typeof body.reasoning_effort === 'string') return body.reasoning_effort
  if (body.reasoning === undefined) return null
  return parseField(reasoning, body.reasoning, 'reasoning').effort ?? null
}

/** The most tokens that the answer may have; null: not said. */
export function maxTokensOf(body: Body): number | null {
  const limit = body.max_completion_tokens ?? body.max_tokens
  return limit === undefined ? null : parseField(z.int().positive(), limit, 'max_tokens')
}

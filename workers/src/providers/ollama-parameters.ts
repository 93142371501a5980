// The parameters that all of Ollama's endpoints share: OpenAI's names onto Ollama's `options` and
// top-level fields (api/types.go), and a clear refusal of what Ollama cannot do.
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
} from './refusals.ts'
import { parseField, stopSequences } from './request-fields.ts'

export interface ParameterRules {
  /** Fields that the endpoint's own file maps. */
  own: ReadonlySet<string>
  /** Ollama's own top-level fields at this endpoint, passed as they are. */
  native: ReadonlySet<string>
  /** Refused where the check holds, besides what no endpoint of Ollama's can do. */
  refused: Refusals
}

export interface OllamaParameters {
  /** The request's body without what was dropped, for the fields in `own`. */
  body: Record<string, unknown>
  /** Top-level fields of Ollama's request; `options` is among them if any is set. */
  fields: Record<string, unknown>
}

type Body = Record<string, unknown>

/** Bookkeeping and hints that change nothing about the answer. */
const notSent = new Set([
  'model',
  'stream',
  'stream_options',
  'user',
  'metadata',
  'store',
  'service_tier',
  'priority',
  'parallel_tool_calls',
  'prediction',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
  'verbosity',
])

/** Mapped by `sampling`, `format` and `think` below. */
const mapped = new Set([
  'options',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'response_format',
  'reasoning_effort',
  'reasoning',
])

/** The mapping of Ollama's own OpenAI endpoint (openai/openai.go, thinkFromReasoningEffort). */
const thinkOfEffort = new Map<unknown, string | boolean>([
  ['none', false],
  ['minimal', 'low'],
  ['low', 'low'],
  ['medium', 'medium'],
  ['high', 'high'],
  ['xhigh', 'max'],
  ['max', 'max'],
])

const refusedEverywhere: Refusals = new Map<string, (value: unknown) => boolean>([
  ['audio', always],
  ['best_of', unlessOne],
  ['echo', unlessFalse],
  // The deprecated forms of `tools` and `tool_choice`.
  ['function_call', unlessAutoOrNone],
  ['functions', unlessEmpty],
  ['logit_bias', unlessEmpty],
  ['modalities', unlessTextOnly],
  ['n', unlessOne],
  ['reasoning_effort', (value) => !thinkOfEffort.has(value)],
  // Ollama offers tools to the model and cannot make it call one.
  ['tool_choice', unlessAutoOrNone],
  ['web_search_options', always],
])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ schema: z.record(z.string(), z.unknown()).optional() }),
  }),
])
const reasoning = z.object({ effort: z.string().nullish() })

/**
 * Maps everything but the endpoint's own fields. `options` is merged from the deployment's defaults,
 * the request's `options` object and its single fields, the last one winning. A field that nobody
 * here knows goes into `options`, as LiteLLM does it: Ollama ignores the ones that it does not know.
 * @throws PenstockError `unsupported_parameter` naming the `param`, unless the deployment drops such
 *   parameters; `invalid_request` for a value that cannot be what its field means.
 */
export function mapParameters(call: ProviderCall, rules: ParameterRules): OllamaParameters {
  const body = wantedBody(call, rules)
  const fields: Body = {}
  const rest: Body = {}
  for (const [name, value] of Object.entries(body)) {
    if (rules.own.has(name) || notSent.has(name) || mapped.has(name)) continue
    // Not refused, so it asks for what Ollama does anyway: `n: 1`.
    if (rules.refused.has(name) || refusedEverywhere.has(name)) continue
    if (rules.native.has(name)) fields[name] = value
    else rest[name] = value
  }
  const format = formatOf(body)
  if (format !== undefined) fields.format ??= format
  const think = thinkOf(body)
  if (think !== undefined) fields.think ??= think
  const options = {
    ...optionsObject(call.deployment.defaults.options),
    ...optionsObject(body.options),
    ...rest,
    ...sampling(body),
  }
  if (Object.keys(options).length > 0) fields.options = options
  return { body, fields }
}

/** The body without nulls (OpenAI's "not set") and without what is dropped. */
function wantedBody(call: ProviderCall, rules: ParameterRules): Body {
  const { dropParams, additionalDropParams } = call.deployment
  const body: Body = {}
  for (const [name, value] of Object.entries(call.body)) {
    if (value === null || value === undefined || additionalDropParams.includes(name)) continue
    const refused = rules.refused.get(name) ?? refusedEverywhere.get(name)
    if (refused?.(value)) {
      if (dropParams) continue
      const message = `Ollama does not support this value of '${name}'. With drop_params: true in the model's litellm_params it would be left out.`
      throw new PenstockError('unsupported_parameter', message, { param: name })
    }
    body[name] = value
  }
  return body
}

function sampling(body: Body): Body {
  const options: Body = {}
  const limit = body.max_completion_tokens ?? body.max_tokens
  if (limit !== undefined) options.num_predict = limit
  if (body.stop !== undefined) options.stop = parseField(stopSequences, body.stop, 'stop')
  return options
}

function formatOf(body: Body): unknown {
  if (body.response_format === undefined) return undefined
  const format = parseField(responseFormat, body.response_format, 'response_format')
  if (format.type === 'text') return undefined
  return (format.type === 'json_schema' && format.json_schema.schema) || 'json'
}

function thinkOf(body: Body): string | boolean | undefined {
  if (body.reasoning_effort !== undefined) return thinkOfEffort.get(body.reasoning_effort)
  if (body.reasoning === undefined) return undefined
  return thinkOfEffort.get(parseField(reasoning, body.reasoning, 'reasoning').effort)
}

function optionsObject(value: unknown): Body {
  if (value === undefined) return {}
  return parseField(z.record(z.string(), z.unknown()), value, 'options')
}

// An OpenAI chat request as Gemini's GenerateContentRequest (ai.google.dev/api/generate-content;
// googleapis/js-genai, src/types.ts). JSON Schemas go as they are, in the fields made for them.
import { z } from 'zod'
import { effortOf, jsonFormatOf, maxTokensOf } from './canonical-parameters.ts'
import { geminiConversation } from './gemini-messages.ts'
import { toolFields } from './gemini-tools.ts'
import type { ProviderCall } from './provider.ts'
import {
  always,
  type Refusals,
  unlessAutoOrNone,
  unlessEmpty,
  unlessOne,
  withoutRefused,
} from './refusals.ts'
import { isFields, parseField, stopSequences } from './request-fields.ts'

type Fields = Record<string, unknown>

const modalities = z.array(z.enum(['text', 'image']))

const refused: Refusals = new Map<string, (value: unknown) => boolean>([
  ['audio', always],
  ['best_of', unlessOne],
  // The deprecated forms of `tools` and `tool_choice`.
  ['function_call', unlessAutoOrNone],
  ['functions', unlessEmpty],
  ['logit_bias', unlessEmpty],
  ['modalities', (value) => !modalities.safeParse(value).success],
  ['reasoning_effort', (value) => !efforts.has(String(value))],
  ['web_search_options', always],
])

/** OpenAI's names, and Gemini's own in both spellings, of what `generationConfig` holds. */
const configNames = new Map([
  ['temperature', 'temperature'],
  ['top_p', 'topP'],
  ['top_k', 'topK'],
  ['n', 'candidateCount'],
  ['seed', 'seed'],
  ['presence_penalty', 'presencePenalty'],
  ['frequency_penalty', 'frequencyPenalty'],
  ['logprobs', 'responseLogprobs'],
  ['top_logprobs', 'logprobs'],
  ['media_resolution', 'mediaResolution'],
  ['thinking_config', 'thinkingConfig'],
  ['thinkingConfig', 'thinkingConfig'],
  ['speech_config', 'speechConfig'],
  ['image_config', 'imageConfig'],
])
/** Gemini reads both spellings. */
const bounds = new Set([
  'candidateCount',
  'candidate_count',
  'maxOutputTokens',
  'max_output_tokens',
])
const topNames = new Map([
  ['safety_settings', 'safetySettings'],
  ['safetySettings', 'safetySettings'],
  ['cached_content', 'cachedContent'],
  ['cachedContent', 'cachedContent'],
])

/** The thinking tokens of the OpenAI guide's table, for the models that count them. */
const efforts = new Map([
  ['none', 0],
  ['minimal', 1_024],
  ['low', 1_024],
  ['medium', 8_192],
  ['high', 24_576],
  ['xhigh', 24_576],
  ['max', 24_576],
])
const thinking = z.union([
  z.object({ type: z.literal('disabled') }).transform(() => ({ thinkingBudget: 0 })),
  z
    .object({ type: z.literal('enabled'), budget_tokens: z.int().min(0) })
    .transform(({ budget_tokens: budget }) => ({ thinkingBudget: budget, includeThoughts: true })),
  z.object({ type: z.literal('adaptive') }).transform(() => ({ includeThoughts: true })),
])

/**
 * What is neither OpenAI's nor Gemini's is left out: Gemini refuses unknown names. `extra_body` is meant
 * for it and goes on top, its `generationConfig` into ours.
 * @throws PenstockError `unsupported_parameter` naming the `param`, unless the deployment drops such
 *   parameters; `invalid_request` for a value that cannot be what its field means.
 */
export function geminiRequest(call: ProviderCall): Fields {
  const body = withoutRefused(call, refused)
  const given = isFields(body.extra_body) ? body.extra_body : {}
  const { generationConfig: camel, generation_config: snake, ...extra } = given
  const more = withoutBounds({ ...fieldsOf(snake), ...fieldsOf(camel) })
  const config = { ...generationConfig(body, call.model), ...more }
  return {
    ...geminiConversation(body.messages, isThirdOrLater(call.model)),
    ...toolFields(body),
    ...renamed(body, topNames),
    ...extra,
    ...(Object.keys(config).length === 0 ? {} : { generationConfig: config }),
  }
}

/** The length and number of answers are OpenAI's fields to say: a budget is reserved by them. */
function withoutBounds(config: Fields): Fields {
  return Object.fromEntries(Object.entries(config).filter(([name]) => !bounds.has(name)))
}

function generationConfig(body: Fields, model: string): Fields {
  const limit = maxTokensOf(body)
  const stops = body.stop === undefined ? [] : parseField(stopSequences, body.stop, 'stop')
  const format = jsonFormatOf(body)
  const wanted = body.modalities === undefined ? [] : modalities.parse(body.modalities)
  return {
    ...(limit === null ? {} : { maxOutputTokens: limit }),
    ...(stops.length === 0 ? {} : { stopSequences: stops }),
    ...(format === null ? {} : { responseMimeType: 'application/json' }),
    ...(format?.schema ? { responseJsonSchema: format.schema } : {}),
    ...(wanted.includes('image')
      ? { responseModalities: wanted.map((kind) => kind.toUpperCase()) }
      : {}),
    ...thinkingFields(body, model),
    ...renamed(body, configNames),
  }
}

/** Thoughts are asked for only where the client speaks of thinking: not every model has them. */
function thinkingFields(body: Fields, model: string): Fields {
  if (body.thinking !== undefined) {
    return { thinkingConfig: parseField(thinking, body.thinking, 'thinking') }
  }
  const effort = effortOf(body)
  if (effort === null) return {}
  const includeThoughts = effort !== 'none'
  if (!isThirdOrLater(model)) {
    const thinkingBudget = efforts.get(effort)
    return { thinkingConfig: { thinkingBudget, ...(includeThoughts ? { includeThoughts } : {}) } }
  }
  return { thinkingConfig: { thinkingLevel: levelOf(effort, model), includeThoughts } }
}

/** Thinking cannot be switched off there, and the Pro models know no level below `low`. */
function levelOf(effort: string, model: string): string {
  if (effort === 'medium' || effort === 'low') return effort
  if (effort === 'none' || effort === 'minimal') return /-pro\b/.test(model) ? 'low' : 'minimal'
  return 'high'
}

/** From Gemini 3 on there are thinking levels in place of budgets, and signatures are checked. */
function isThirdOrLater(model: string): boolean {
  return !/(?:^|\/)(?:gemini-[12](?:\.|-)|gemma|learnlm)/.test(model)
}

function renamed(body: Fields, names: ReadonlyMap<string, string>): Fields {
  const found: Fields = {}
  for (const [name, value] of Object.entries(body)) {
    const theirs = names.get(name)
    if (theirs !== undefined) found[theirs] = value
  }
  return found
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {}
}

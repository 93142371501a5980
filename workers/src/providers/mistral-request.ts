// An OpenAI request as Mistral's: chat completions, fill-in-the-middle and embeddings. (docs.mistral.ai,
// openapi.yaml: ChatCompletionRequest, FIMCompletionRequest, EmbeddingRequest.)
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TextOperation } from '@penstock/shared/contracts/request'
import { z } from 'zod'
import { mistralMessages } from './mistral-messages.ts'
import { withoutGatewayFields } from './openai-request.ts'
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
import { isFields, parseField } from './request-fields.ts'

type Body = Record<string, unknown>

/** Bookkeeping and hints that change nothing about the answer, and what is mapped below. */
const notSent = new Set([
  'model',
  'stream',
  'stream_options',
  'user',
  'store',
  'service_tier',
  'priority',
  'verbosity',
  'safety_identifier',
  'prompt_cache_retention',
  'extra_body',
  'max_completion_tokens',
  'seed',
])

const refusedInChat: Refusals = new Map([
  ['audio', always],
  // The deprecated forms of `tools` and `tool_choice`.
  ['function_call', unlessAutoOrNone],
  ['functions', unlessEmpty],
  ['logit_bias', unlessEmpty],
  ['logprobs', unlessFalse],
  ['modalities', unlessTextOnly],
  ['top_logprobs', unlessZero],
  ['web_search_options', always],
])

const refusedInCompletions: Refusals = new Map([
  ['best_of', unlessOne],
  ['echo', unlessFalse],
  ['frequency_penalty', unlessZero],
  ['logit_bias', unlessEmpty],
  ['logprobs', unlessFalse],
  ['n', unlessOne],
  ['presence_penalty', unlessZero],
])

const refused: Record<TextOperation, Refusals> = {
  chat: refusedInChat,
  completion: refusedInCompletions,
  embedding: new Map(),
}

const prompts = z.union([z.string().transform((one) => [one]), z.array(z.unknown()).min(1)])
const tools = z.array(z.looseObject({ function: z.looseObject({}).optional() }))

/** @throws PenstockError `unsupported_parameter`, `invalid_request` */
export function mistralBody(call: ProviderCall): Body {
  const refusals = refused[call.operation]
  const wanted = withoutRefused(call, refusals)
  const body: Body = { model: call.model }
  for (const [name, value] of Object.entries(withoutGatewayFields(call.operation, wanted))) {
    // Not refused, so it asks for what Mistral does anyway: `logprobs: false`.
    if (!notSent.has(name) && !refusals.has(name)) body[name] = value
  }
  switch (call.operation) {
    case 'chat':
      Object.assign(body, sampling(wanted), chatFields(wanted))
      break
    case 'completion':
      Object.assign(body, sampling(wanted), { prompt: onePrompt(wanted.prompt) })
      break
    case 'embedding':
      if (wanted.dimensions !== undefined) body.output_dimension = wanted.dimensions
      delete body.dimensions
  }
  if (call.stream) body.stream = true
  return isFields(wanted.extra_body) ? { ...body, ...wanted.extra_body } : body
}

function sampling(wanted: Body): Body {
  const limit = wanted.max_completion_tokens ?? wanted.max_tokens
  return {
    ...(limit === undefined ? {} : { max_tokens: limit }),
    ...(wanted.seed === undefined ? {} : { random_seed: wanted.seed }),
  }
}

function chatFields(wanted: Body): Body {
  const { tools: offered, tool_choice: choice, reasoning_effort: effort } = wanted
  return {
    messages: mistralMessages(wanted.messages),
    ...(offered === undefined ? {} : { tools: parseField(tools, offered, 'tools').map(toolOf) }),
    // Older models and servers know `any` only; newer ones take it as another name of `required`.
    ...(choice === 'required' ? { tool_choice: 'any' } : {}),
    // Mistral has these two efforts ("Adjustable reasoning").
    ...(effort === undefined ? {} : { reasoning_effort: effort === 'none' ? 'none' : 'high' }),
  }
}

/** Its `parameters` are required there, and optional at OpenAI. */
function toolOf(tool: z.infer<typeof tools>[number]): Body {
  if (tool.function === undefined) return tool
  const parameters = { type: 'object', properties: {} }
  return { ...tool, function: { parameters, ...tool.function } }
}

function onePrompt(value: unknown): string {
  const [prompt, ...more] = parseField(prompts, value, 'prompt')
  if (typeof prompt === 'string' && more.length === 0) return prompt
  const message = 'Mistral takes one prompt per request, as text.'
  throw new PenstockError('unsupported_parameter', message, { param: 'prompt' })
}

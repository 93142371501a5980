// The fields that Ollama's requests have in common (api/types.go, GenerateRequest and ChatRequest), as
// OpenAI's. What only an Ollama host can use, how it loads and holds a model, has no place there.
import { z } from 'zod'
import { PenstockError } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'

const efforts = ['low', 'medium', 'high', 'max'] as const
const count = z.int().max(100_000_000)

/** Ollama ignores the options that it does not know, so they are no fault here either. */
const options = z.looseObject({
  seed: z.int().nullish(),
  num_predict: count.nullish(),
  temperature: z.number().nullish(),
  top_k: z.int().nullish(),
  top_p: z.number().nullish(),
  min_p: z.number().nullish(),
  repeat_penalty: z.number().nullish(),
  presence_penalty: z.number().nullish(),
  frequency_penalty: z.number().nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(64)], 'expected texts').nullish(),
})

/** Checked for every request that generates; the endpoints add their own. */
export const generationShape = {
  model: z.string().min(1).max(512),
  stream: z.boolean().nullish(),
  format: z.union([z.string(), z.looseObject({})], 'expected "json" or a JSON schema').nullish(),
  options: options.nullish(),
  think: z
    .union([z.boolean(), z.enum(efforts)], `expected true, false or one of ${efforts.join(', ')}`)
    .nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
}

export type Generation = z.infer<z.ZodObject<typeof generationShape>>

/** What the gateway reads itself, under OpenAI's names: no client of Ollama's has others for it. */
const gatewayFields = ['user', 'metadata', 'service_tier', 'priority', 'cache']

/** Of the same name and meaning on both sides. */
const sameOptions = [
  'seed',
  'temperature',
  'top_k',
  'top_p',
  'min_p',
  'presence_penalty',
  'frequency_penalty',
  'stop',
] as const

/** Everything but the prompt. Ollama streams unless it is told not to. */
export function generationFields(request: Generation, body: Fields): Fields {
  const fields: Fields = { model: request.model, stream: request.stream ?? true }
  const given = request.options ?? {}
  for (const name of sameOptions) set(fields, name, given[name])
  // vLLM's name for the same; OpenAI has no such parameter.
  set(fields, 'repetition_penalty', given.repeat_penalty)
  // 0 and below mean "no limit" (llm/server.go).
  if ((given.num_predict ?? 0) > 0) fields.max_tokens = given.num_predict
  set(fields, 'response_format', responseFormat(request.format))
  set(fields, 'reasoning_effort', effortOf(request.think))
  set(fields, 'logprobs', request.logprobs)
  if (request.logprobs === true) set(fields, 'top_logprobs', request.top_logprobs)
  return { ...fields, ...fieldsForGateway(body) }
}

export function fieldsForGateway(body: Fields): Fields {
  const fields: Fields = {}
  for (const name of gatewayFields) set(fields, name, body[name])
  return fields
}

/** A base64 image, as Ollama takes them, as OpenAI's part; its kind is read from its first bytes. */
export function imagePart(data: string): Fields {
  const kind = imageKinds.find(([start]) => data.startsWith(start))?.[1] ?? 'png'
  return { type: 'image_url', image_url: { url: `data:image/${kind};base64,${data}` } }
}

/** How the signatures of the formats begin in base64. */
const imageKinds = [
  ['iVBORw', 'png'],
  ['/9j/', 'jpeg'],
  ['R0lGOD', 'gif'],
  ['UklGR', 'webp'],
] as const

/** An empty format is none (server/routes.go). */
function responseFormat(format: Generation['format']): unknown {
  if (format === null || format === undefined || format === '') return undefined
  if (format === 'json') return { type: 'json_object' }
  if (typeof format === 'object') {
    return { type: 'json_schema', json_schema: { name: 'answer', schema: format } }
  }
  const message = 'Invalid request: format: expected "json" or a JSON schema'
  throw new PenstockError('invalid_request', message, { param: 'format' })
}

/** `true` alone is the middle level (api/types.go, ThinkValue). */
function effortOf(think: Generation['think']): string | undefined {
  if (think === null || think === undefined) return undefined
  if (typeof think === 'boolean') return think ? 'medium' : 'none'
  return think === 'max' ? 'xhigh' : think
}

function set(fields: Fields, name: string, value: unknown): void {
  if (value !== null && value !== undefined) fields[name] = value
}

/** The model as the client named it. */
export function modelOf(request: Fields): string {
  return typeof request.model === 'string' ? request.model : ''
}

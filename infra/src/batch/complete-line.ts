// One line of an input file as the batch API takes it. People may write less: a line that holds only
// `messages`, `prompt` or `input` gets its model, endpoint and custom_id here.
import { type batchEndpoints, createBatchRequest } from '@penstock/shared/contracts/batches'
import { z } from 'zod'

export type Endpoint = (typeof batchEndpoints)[number]

export interface Defaults {
  model: string | undefined
  /** Undefined: what the line's fields say. */
  endpoint: Endpoint | undefined
}

export interface CompletedLine {
  endpoint: Endpoint
  /** Null: it may stay as it stands in the file. */
  rewritten: string | null
}

/** What is wrong with a line, told to people; its number is the caller's to add. */
export class LineFault extends Error {}

const line = z.looseObject({}, 'is no JSON object')
const full = z.looseObject({ body: z.looseObject({}, 'has a "body" that is no JSON object') })
const endpointField = createBatchRequest.shape.endpoint

/**
 * @param number of the line, from 1: a line without a custom_id becomes `line-<number>`
 * @throws LineFault
 */
export function completeLine(text: string, number: number, defaults: Defaults): CompletedLine {
  const value = parse(line, jsonOf(text))
  return 'body' in value || 'url' in value
    ? completeFull(parse(full, value), number, defaults)
    : completeShort(value, number, defaults)
}

function completeFull(
  value: z.output<typeof full>,
  number: number,
  { model, endpoint: wanted }: Defaults,
): CompletedLine {
  const { custom_id = `line-${number}`, method = 'POST', body } = value
  const url = value.url ?? wanted ?? endpointOf(body)
  const endpoint = endpointField.safeParse(url)
  if (!endpoint.success) throw new LineFault(`has the url ${JSON.stringify(url)}`)
  const hasModel = body.model !== undefined
  const isComplete = ['custom_id', 'method', 'url'].every((name) => name in value) && hasModel
  if (isComplete) return { endpoint: endpoint.data, rewritten: null }
  const completed = hasModel ? body : { model: checkedModel(model), ...body }
  const rewritten = JSON.stringify({ ...value, custom_id, method, url, body: completed })
  return { endpoint: endpoint.data, rewritten }
}

function completeShort(
  value: z.output<typeof line>,
  number: number,
  { model, endpoint: wanted }: Defaults,
): CompletedLine {
  const { custom_id = `line-${number}`, ...fields } = value
  const endpoint = wanted ?? endpointOf(fields)
  const body = endpoint === '/v1/chat/completions' ? asChat(fields) : fields
  const filled = body.model === undefined ? { model: checkedModel(model), ...body } : body
  const rewritten = JSON.stringify({ custom_id, method: 'POST', url: endpoint, body: filled })
  return { endpoint, rewritten }
}

function endpointOf(fields: Record<string, unknown>): Endpoint {
  if ('messages' in fields || 'prompt' in fields) return '/v1/chat/completions'
  if ('input' in fields) return '/v1/embeddings'
  throw new LineFault('has none of "messages", "prompt" and "input"')
}

/** A prompt is what a user says, unless /v1/completions was asked for. */
function asChat({ prompt, ...fields }: Record<string, unknown>): Record<string, unknown> {
  if (prompt === undefined) return fields
  if (fields.messages !== undefined) throw new LineFault('has both "messages" and "prompt"')
  if (typeof prompt !== 'string') throw new LineFault('has a "prompt" that is no text')
  return { messages: [{ role: 'user', content: prompt }], ...fields }
}

function checkedModel(model: string | undefined): string {
  if (model === undefined) throw new LineFault('names no model: name one for all with --model')
  return model
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new LineFault('is not valid JSON')
  }
}

function parse<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new LineFault(parsed.error.issues[0]?.message ?? 'is not readable')
}

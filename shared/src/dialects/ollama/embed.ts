// Ollama's POST /api/embed, and /api/embeddings, the older one, which takes one `prompt` and answers
// with one vector (docs/api.md; api/types.go, EmbedRequest and EmbeddingRequest).
import { z } from 'zod'
import { PenstockError } from '../../contracts/errors.ts'
import { parseFields } from '../../parse-fields.ts'
import type { Dialect } from '../dialect.ts'
import { metrics } from './replies.ts'
import { fieldsForGateway, modelOf } from './request-fields.ts'
import { errorBody, streamType } from './responses.ts'

const embedRequest = z.looseObject({
  model: z.string().min(1).max(512),
  input: z
    .union([z.string(), z.array(z.string()).max(100_000)], 'expected a text or a list of texts')
    .optional(),
  prompt: z.string().optional(),
  dimensions: z.int().min(0).max(1_000_000).nullish(),
})
const answer = z.object({ data: z.array(z.object({ embedding: z.array(z.number()) })) })

export const ollamaEmbed: Dialect = {
  name: 'ollama-embed',
  streamType,
  toCanonical(given) {
    const { model, input, prompt, dimensions } = parseFields(embedRequest, given, 'request')
    const texts = input ?? prompt
    if (texts === undefined || texts.length === 0) {
      const message = 'Invalid request: input: expected a text or a list of texts'
      throw new PenstockError('invalid_request', message, { param: 'input' })
    }
    const wanted = dimensions ? { dimensions } : {}
    // An upstream may answer in base64 unless it is asked for numbers.
    const form = { encoding_format: 'float' }
    const body = { model, input: texts, ...form, ...wanted, ...fieldsForGateway(given) }
    return { operation: 'embedding', body }
  },
  answer(canonical, request, end) {
    const parsed = answer.safeParse(canonical)
    if (!parsed.success) {
      const message = 'The upstream sent embeddings that are not lists of numbers.'
      throw new PenstockError('upstream_invalid_response', message)
    }
    const embeddings = parsed.data.data.map(({ embedding }) => embedding)
    if (request.input === undefined) return { embedding: embeddings[0] ?? [] }
    const { total_duration, prompt_eval_count } = metrics(end, null)
    const taken = { ...(total_duration ? { total_duration } : {}), prompt_eval_count }
    return { model: modelOf(request), embeddings, ...taken }
  },
  stream: () => ({ push: () => null, end: () => nothing, error: () => nothing }),
  queued: () => null,
  errorBody,
  nativeTexts: () => [],
}

const nothing = new Uint8Array(0)

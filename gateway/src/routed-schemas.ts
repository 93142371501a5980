// Requests that only some providers have routes for: moderations, images and audio as OpenAI takes them,
// rerankings as Cohere, vLLM and others do. Unknown fields are kept.
import { z } from 'zod'

const text = z.string()
const model = text.min(1).max(512)
const metadata = z.record(text, z.unknown()).nullish()
const user = text.max(1024).nullish()
const part = z.looseObject({ type: text }, 'expected a content part with a type')

export const moderationRequest = z.looseObject({
  /** OpenAI's own default. */
  model: model.default('omni-moderation-latest'),
  input: z.union(
    [text, z.array(text).min(1).max(2048), z.array(part).min(1).max(2048)],
    'expected a string, a list of strings or of content parts',
  ),
  user,
  metadata,
})

const document = z.union(
  [text, z.looseObject({ text: text.optional() })],
  'expected a string or an object with a text',
)
export const rerankRequest = z.looseObject({
  model,
  query: text,
  documents: z.array(document).min(1).max(10_000),
  top_n: z.int().min(1).nullish(),
  return_documents: z.boolean().nullish(),
  user,
  metadata,
})

export const imageRequest = z.looseObject({
  model,
  prompt: text.min(1),
  n: z.int().min(1).max(10).nullish(),
  size: text.nullish(),
  quality: text.nullish(),
  style: text.nullish(),
  background: text.nullish(),
  output_format: text.nullish(),
  response_format: z.enum(['url', 'b64_json']).nullish(),
  stream: z.literal(false, 'images are not streamed').nullish(),
  user,
  metadata,
})

export const speechRequest = z.looseObject({
  model,
  input: text.min(1).max(100_000),
  /** OpenAI needs one, other servers have one of their own; an object names one of the user's. */
  voice: z.union([text, z.looseObject({})], 'expected a string or an object').nullish(),
  instructions: text.nullish(),
  response_format: text.nullish(),
  speed: z.number().min(0.25).max(4).nullish(),
  stream_format: z.literal('audio', 'speech is not sent as events').nullish(),
  user,
  metadata,
})

/** Fields of a form: texts. */
const uploaded = {
  model,
  prompt: text.nullish(),
  response_format: text.nullish(),
  temperature: text
    .refine((value) => value.trim() !== '' && Number.isFinite(Number(value)), 'expected a number')
    .nullish(),
  user,
}
export const transcriptionRequest = z.looseObject({
  ...uploaded,
  language: text.nullish(),
  /** What some clients always send. */
  stream: z
    .literal('false', 'transcriptions are not streamed')
    .transform(() => false)
    .nullish(),
})
export const translationRequest = z.looseObject(uploaded)

// Requests that only some providers have routes for: moderations and images as OpenAI takes them,
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

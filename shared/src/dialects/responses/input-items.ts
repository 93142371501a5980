// The items of a Responses request, as OpenAI's API reference lists them: what was said and called so
// far. Texts are brought into the form of lists, in which OpenAI stores and lists them.
import { z } from 'zod'

const text = z.string()
const detail = z.string().nullish()

export const contentPart = z.discriminatedUnion(
  'type',
  [
    z.looseObject({ type: z.literal('input_text'), text }),
    z.looseObject({ type: z.literal('output_text'), text }),
    z.looseObject({ type: z.literal('refusal'), refusal: text }),
    z.looseObject({
      type: z.literal('input_image'),
      image_url: text.nullish(),
      file_id: text.nullish(),
      detail,
    }),
    z.looseObject({
      type: z.literal('input_file'),
      file_data: text.nullish(),
      file_id: text.nullish(),
      file_url: text.nullish(),
      filename: text.nullish(),
    }),
    z.looseObject({
      type: z.literal('input_audio'),
      input_audio: z.looseObject({ data: text, format: text }),
    }),
  ],
  'expected input_text, output_text, refusal, input_image, input_file or input_audio',
)
export type ContentPart = z.infer<typeof contentPart>

const roles = ['user', 'assistant', 'system', 'developer'] as const

const message = z.looseObject({
  type: z.literal('message'),
  id: text.optional(),
  role: z.enum(roles, `expected one of ${roles.join(', ')}`),
  content: z.array(contentPart, 'expected a string or a list of parts').max(10_000),
})
const functionCall = z.looseObject({
  type: z.literal('function_call'),
  id: text.nullish(),
  call_id: text.min(1),
  name: text.min(1),
  arguments: text,
})
const functionCallOutput = z.looseObject({
  type: z.literal('function_call_output'),
  id: text.nullish(),
  call_id: text.min(1),
  output: z.union([text, z.array(contentPart).max(10_000)], 'expected a string or a list of parts'),
})
const reasoning = z.looseObject({
  type: z.literal('reasoning'),
  id: text.nullish(),
  summary: z.array(z.looseObject({ text })).max(10_000).default([]),
  content: z.array(z.looseObject({ text })).max(10_000).nullish(),
  encrypted_content: text.nullish(),
})
const itemReference = z.looseObject({ type: z.literal('item_reference'), id: text.min(1) })

const itemTypes = ['message', 'function_call', 'function_call_output', 'reasoning']

export const inputItem = z.preprocess(
  withLists,
  z.discriminatedUnion(
    'type',
    [message, functionCall, functionCallOutput, reasoning, itemReference],
    `expected one of ${itemTypes.join(', ')} or item_reference: what OpenAI's own tools leave behind cannot be sent here`,
  ),
)
export type InputItem = z.infer<typeof inputItem>

/** A text is a message of the user. */
export const inputItems = z.preprocess(
  (input) => (typeof input === 'string' ? [{ role: 'user', content: input }] : input),
  z.array(inputItem, 'expected a string or a list of items').max(100_000),
)

/** The type that an item may leave out, and a text as the one part that it stands for. */
function withLists(item: unknown): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
  const fields: Record<string, unknown> = { ...item }
  if (fields.type === undefined || fields.type === null) {
    fields.type = fields.role === undefined && 'id' in fields ? 'item_reference' : 'message'
  }
  if (fields.type === 'message' && typeof fields.content === 'string') {
    const type = fields.role === 'assistant' ? 'output_text' : 'input_text'
    fields.content = [{ type, text: fields.content }]
  }
  return fields
}

// A request of OpenAI's Responses API (POST /v1/responses), as its API reference and SDK describe it.
// What this API has that a chat completion cannot do is refused by name, never passed over.
import { z } from 'zod'
import { inputItems } from './input-items.ts'

const text = z.string()

const toolError =
  'only tools of the type function can be offered: those that OpenAI runs itself are not here'
const tool = z.looseObject({
  type: z.literal('function', toolError),
  name: text.min(1),
  description: text.nullish(),
  parameters: z.record(text, z.unknown()).nullish(),
  strict: z.boolean().nullish(),
})

const namedTool = z.looseObject({ type: z.literal('function', toolError), name: text })
const toolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    namedTool,
    z.looseObject({
      type: z.literal('allowed_tools'),
      mode: z.enum(['auto', 'required']),
      tools: z.array(namedTool),
    }),
  ],
  'expected none, auto, required, a function or allowed_tools',
)

const format = z.discriminatedUnion(
  'type',
  [
    z.looseObject({ type: z.literal('text') }),
    z.looseObject({ type: z.literal('json_object') }),
    z.looseObject({
      type: z.literal('json_schema'),
      name: text.min(1),
      schema: z.record(text, z.unknown()),
      description: text.nullish(),
      strict: z.boolean().nullish(),
    }),
  ],
  'expected text, json_object or json_schema',
)

/** Not offered: anything but leaving it out is refused. */
const absent = (instead: string) => z.null(instead).optional()

export const responsesRequest = z.looseObject({
  model: text.min(1).max(512),
  input: inputItems.default([]),
  instructions: text.nullish(),
  stream: z.boolean().nullish(),
  store: z.boolean().nullish(),
  background: z.boolean().nullish(),
  previous_response_id: text.nullish(),
  tools: z.array(tool).max(4096).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_output_tokens: z.int().min(1).max(100_000_000).nullish(),
  max_tool_calls: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  text: z.looseObject({ format: format.nullish(), verbosity: text.nullish() }).nullish(),
  reasoning: z.looseObject({ effort: text.nullish(), summary: text.nullish() }).nullish(),
  include: z.array(text).max(64).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
  metadata: z.record(text, z.unknown()).nullish(),
  user: text.max(1024).nullish(),
  safety_identifier: text.nullish(),
  prompt_cache_key: text.nullish(),
  prompt_cache_retention: text.nullish(),
  service_tier: text.nullish(),
  priority: z.int().min(-1_000_000).max(1_000_000).nullish(),
  stream_options: z.looseObject({}).nullish(),
  conversation: absent('conversations are not kept here: use previous_response_id'),
  prompt: absent('stored prompts are not kept here: send the instructions themselves'),
  context_management: absent('conversations are not compacted here'),
})
export type ResponsesRequest = z.infer<typeof responsesRequest>

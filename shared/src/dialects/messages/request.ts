// A request to Anthropic's Messages API (docs: api/messages), as far as it is read here. Loose: what is
// not named may mean something to an upstream that speaks this API itself.
import { z } from 'zod'

const text = z.string()
const kind = z.looseObject({ type: text }, 'expected an object with a type')
const content = z.union([text, z.array(kind)], 'expected a string or a list of content blocks')
const roles = ['user', 'assistant', 'system'] as const

export const messagesRequest = z.looseObject({
  model: text.min(1).max(512),
  max_tokens: z.int().min(1).max(100_000_000),
  messages: z
    .array(z.looseObject({ role: z.enum(roles, `expected one of ${roles.join(', ')}`), content }))
    .min(1)
    .max(100_000),
  system: content.nullish(),
  stream: z.boolean().nullish(),
  stop_sequences: z.array(text).max(64).nullish(),
  temperature: z.number().min(0).max(1).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  tools: z
    .array(
      z.looseObject({
        type: text.nullish(),
        name: text.nullish(),
        description: text.nullish(),
        input_schema: z.record(text, z.unknown()).nullish(),
        strict: z.boolean().nullish(),
      }),
    )
    .max(4096)
    .nullish(),
  tool_choice: z
    .looseObject({
      type: text,
      name: text.nullish(),
      disable_parallel_tool_use: z.boolean().nullish(),
    })
    .nullish(),
  thinking: kind.nullish(),
  output_config: z
    .looseObject({ format: z.looseObject({ type: text, schema: z.unknown() }).nullish() })
    .nullish(),
  metadata: z.looseObject({ user_id: text.max(1024).nullish() }).nullish(),
})
export type MessagesRequest = z.output<typeof messagesRequest>

/** The same without what only an answer needs. */
export const countTokensRequest = messagesRequest.partial({ max_tokens: true })
export type CountTokensRequest = z.output<typeof countTokensRequest>

export type Block = z.output<typeof kind>
export type Content = z.output<typeof content>

/** Thinking that the client asked to see; otherwise Anthropic shows none. */
export function wantsThinking({ thinking }: Record<string, unknown>): boolean {
  const parsed = kind.safeParse(thinking)
  if (!parsed.success) return false
  return parsed.data.type !== 'disabled' && parsed.data.display !== 'omitted'
}

// A whole canonical reply, read as the one chunk of a stream that says it all.
import { z } from 'zod'
import { PenstockError } from '../../contracts/errors.ts'
import type { ChatChunk } from '../chat-events.ts'
import type { Fields } from '../dialect.ts'

const text = z.string().nullish().catch(null)
const count = z.int().min(0).nullish().catch(null)
const call = z.object({ id: text, function: z.object({ name: text, arguments: text }) })
const message = z.object({
  content: text,
  refusal: text,
  reasoning_content: text,
  reasoning: text,
  thinking_blocks: z.array(z.unknown()).nullish().catch(null),
  tool_calls: z.array(call).nullish(),
})
const reply = z.object({
  model: text,
  choices: z
    .array(z.object({ message, finish_reason: text, logprobs: z.unknown().optional() }))
    .min(1),
  usage: z
    .object({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: z.object({ cached_tokens: count }).nullish().catch(null),
      completion_tokens_details: z.object({ reasoning_tokens: count }).nullish().catch(null),
    })
    .nullish()
    .catch(null),
})

/** @throws PenstockError `upstream_invalid_response` */
export function chunkOf(canonical: Fields): { chunk: ChatChunk; usage: Fields | null } {
  const parsed = reply.safeParse(canonical)
  const choice = parsed.data?.choices[0]
  if (!parsed.success || choice === undefined) {
    throw new PenstockError('upstream_invalid_response', 'The upstream sent no readable answer.')
  }
  const { model, usage } = parsed.data
  const calls = choice.message.tool_calls ?? []
  const delta = {
    ...choice.message,
    tool_calls: calls.map((one, index) => ({ ...one, index })),
  }
  const { finish_reason, logprobs } = choice
  const only = { index: 0, delta, finish_reason: finish_reason ?? null, logprobs }
  const chunk: ChatChunk = { model, choices: [only] }
  return { chunk, usage: usage ? usageOf(usage) : null }
}

function usageOf(usage: NonNullable<z.infer<typeof reply>['usage']>): Fields {
  const input = usage.prompt_tokens ?? 0
  const output = usage.completion_tokens ?? 0
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0
  const reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  }
}

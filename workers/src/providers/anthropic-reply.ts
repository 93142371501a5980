// What Anthropic answers: a whole Message as a chat.completion, and the words and counts that whole
// and streamed answers share.
import type { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'
import { type Answer, chatCompletion, type FinishReason } from './canonical-answer.ts'
import { parseFrom, unexpectedFrom } from './unexpected-reply.ts'

const count = z.int().min(0).nullish().catch(null)
/** `usage` of a Message and of a message_delta event, whose counts are those so far. */
const usageShape = z.object({
  input_tokens: count,
  output_tokens: count,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
  // A part of these (docs: build-with-claude/prompt-caching, "1-hour cache duration").
  cache_creation: z.object({ ephemeral_1h_input_tokens: count }).nullish().catch(null),
  // Or `standard`, which has the normal prices (docs: api/service-tiers).
  service_tier: z.literal('priority').nullish().catch(null),
  output_tokens_details: z.object({ thinking_tokens: count }).nullish().catch(null),
})
export type AnthropicUsage = z.infer<typeof usageShape>

const message = z.object({
  id: z.string().nullish().catch(null),
  content: z.array(z.looseObject({ type: z.string() })),
  stop_reason: z.string().nullish(),
  usage: z.unknown().optional(),
})
const text = z.object({ text: z.string() })
const thinking = z.object({ thinking: z.string(), signature: z.string().default('') })
const redacted = z.object({ data: z.string() })
const toolUse = z.object({ id: z.string(), name: z.string(), input: z.unknown() })

const finishReasons = new Map<unknown, FinishReason>([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['pause_turn', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['refusal', 'content_filter'],
])

/** @throws PenstockError `upstream_invalid_response` */
export function completionOf(value: unknown, model: string) {
  const parsed = parseAnthropic(message, value)
  const usage = usageOf(usageCounts(parsed.usage))
  const answer: Answer = {
    id: parsed.id || null,
    model,
    text: '',
    thinking: [],
    calls: [],
    finish: finishReason(parsed.stop_reason),
    usage,
  }
  for (const block of parsed.content) addBlock(answer, block)
  return { body: chatCompletion(answer), usage }
}

/** Blocks of Anthropic's server tools say nothing to a client that knows only chats. */
function addBlock(answer: Answer, block: { type: string }): void {
  switch (block.type) {
    case 'text':
      answer.text += parseAnthropic(text, block).text
      return
    case 'thinking':
      answer.thinking.push({ type: 'thinking', ...parseAnthropic(thinking, block) })
      return
    case 'redacted_thinking':
      answer.thinking.push({ type: 'redacted_thinking', ...parseAnthropic(redacted, block) })
      return
    case 'tool_use':
      answer.calls.push(parseAnthropic(toolUse, block))
  }
}

/** OpenAI's word for Anthropic's (its docs: build-with-claude/handling-stop-reasons). */
export function finishReason(stopReason: unknown): FinishReason {
  return finishReasons.get(stopReason) ?? 'stop'
}

/** Null where there are no counts at all. */
export function usageCounts(value: unknown): AnthropicUsage | null {
  return usageShape.safeParse(value).data ?? null
}

/**
 * OpenAI counts cached tokens, read and written ones, among those of the prompt; Anthropic counts
 * them apart.
 */
export function usageOf(counts: AnthropicUsage | null): TokenUsage | null {
  if (counts === null) return null
  const { input_tokens: input, output_tokens: output } = counts
  if (typeof input !== 'number' && typeof output !== 'number') return null
  const cached = counts.cache_read_input_tokens ?? 0
  const written = counts.cache_creation_input_tokens ?? 0
  const forAnHour = counts.cache_creation?.ephemeral_1h_input_tokens ?? 0
  return {
    promptTokens: (input ?? 0) + cached + written,
    completionTokens: output ?? 0,
    cachedPromptTokens: cached,
    cacheWriteTokens: written,
    audioPromptTokens: 0,
    reasoningTokens: Math.min(counts.output_tokens_details?.thinking_tokens ?? 0, output ?? 0),
    audioCompletionTokens: 0,
    ...(forAnHour > 0 ? { cacheWrite1hTokens: forAnHour } : {}),
    ...(counts.service_tier ? { rate: counts.service_tier } : {}),
    estimated: false,
  }
}

/** @throws PenstockError `upstream_invalid_response` naming the place that is not of Anthropic's form. */
export function parseAnthropic<T>(schema: z.ZodType<T>, value: unknown): T {
  return parseFrom('Anthropic', schema, value)
}

export function unexpected(what: string): PenstockError {
  return unexpectedFrom('Anthropic', what)
}

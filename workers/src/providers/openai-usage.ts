// What OpenAI-compatible servers report as `usage`, in Penstock's terms.
import { serviceTier, type TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'

/** Absent, null, negative, absurdly large or not a number: nothing was counted. */
const reported = z
  .number()
  .min(0)
  .max(Number.MAX_SAFE_INTEGER)
  .transform(Math.round)
  .nullish()
  .catch(null)
const count = reported.transform((value) => value ?? 0)
const details = <T extends z.ZodRawShape>(shape: T) => z.object(shape).nullish().catch(null)

// OpenAI's CompletionUsage; `cache_write_tokens` is OpenRouter's, `prompt_cache_hit_tokens`
// DeepSeek's, `num_cached_tokens` Mistral's.
const usageShape = z.object({
  prompt_tokens: reported,
  completion_tokens: reported,
  total_tokens: count,
  prompt_tokens_details: details({
    cached_tokens: count,
    cache_write_tokens: count,
    audio_tokens: count,
    image_tokens: count,
  }),
  completion_tokens_details: details({
    reasoning_tokens: count,
    audio_tokens: count,
    image_tokens: count,
  }),
  prompt_cache_hit_tokens: count,
  num_cached_tokens: count,
})

/**
 * Of a reply or a chunk `service_tier` is the one it was served in, whatever was asked for: `default`,
 * or one that has its own prices (OpenAI's API reference, the chat completion object).
 */
const reply = z.object({ usage: usageShape, service_tier: serviceTier.nullish().catch(null) })

/** The usage in a reply or a chunk; null where the upstream reported none that says anything. */
export function usageOf(body: unknown): TokenUsage | null {
  const parsed = reply.safeParse(body)
  if (!parsed.success) return null
  const { usage, service_tier: tier } = parsed.data
  const promptTokens = usage.prompt_tokens ?? 0
  const reasoningTokens = usage.completion_tokens_details?.reasoning_tokens ?? 0
  const completionTokens = completionOf(usage, promptTokens, reasoningTokens)
  if (promptTokens === 0 && completionTokens === 0) return null
  const cached =
    usage.prompt_tokens_details?.cached_tokens ||
    usage.prompt_cache_hit_tokens ||
    usage.num_cached_tokens
  return {
    promptTokens,
    completionTokens,
    cachedPromptTokens: Math.min(cached, promptTokens),
    cacheWriteTokens: usage.prompt_tokens_details?.cache_write_tokens ?? 0,
    audioPromptTokens: usage.prompt_tokens_details?.audio_tokens ?? 0,
    reasoningTokens,
    audioCompletionTokens: usage.completion_tokens_details?.audio_tokens ?? 0,
    ...imageTokens(usage),
    ...(tier ? { rate: tier } : {}),
    estimated: false,
  }
}

/** OpenRouter's, and of servers that make images. */
function imageTokens(usage: z.infer<typeof usageShape>) {
  const prompt = usage.prompt_tokens_details?.image_tokens ?? 0
  const completion = usage.completion_tokens_details?.image_tokens ?? 0
  return {
    ...(prompt > 0 ? { imagePromptTokens: prompt } : {}),
    ...(completion > 0 ? { imageCompletionTokens: completion } : {}),
  }
}

/** Some (xAI) count reasoning beside the completion instead of within it: their total tells. */
function completionOf(
  { completion_tokens: completion, total_tokens: total }: z.infer<typeof usageShape>,
  prompt: number,
  reasoning: number,
): number {
  if (completion === null || completion === undefined) return Math.max(total - prompt, 0)
  return total === prompt + completion + reasoning ? completion + reasoning : completion
}

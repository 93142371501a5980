// Gemini's `usageMetadata` (ai.google.dev/api/generate-content#UsageMetadata) in Penstock's terms:
// thoughts stand beside the candidates there, and what is cached within the prompt.
import { noUsage, type TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'

const count = z.int().min(0).nullish().catch(null)
const modalities = z
  .array(
    z.object({ modality: z.string(), tokenCount: count }).catch({ modality: '', tokenCount: 0 }),
  )
  .nullish()
  .catch(null)
const shape = z.object({
  usageMetadata: z.object({
    promptTokenCount: count,
    candidatesTokenCount: count,
    thoughtsTokenCount: count,
    toolUsePromptTokenCount: count,
    cachedContentTokenCount: count,
    promptTokensDetails: modalities,
    candidatesTokensDetails: modalities,
  }),
})

/** Null where nothing was counted. */
export function usageOf(reply: unknown): TokenUsage | null {
  const counts = shape.safeParse(reply).data?.usageMetadata
  if (!counts || (counts.promptTokenCount ?? counts.candidatesTokenCount ?? null) === null)
    return null
  const promptTokens = (counts.promptTokenCount ?? 0) + (counts.toolUsePromptTokenCount ?? 0)
  const reasoningTokens = counts.thoughtsTokenCount ?? 0
  const imagesIn = tokensOf('IMAGE', counts.promptTokensDetails)
  const imagesOut = tokensOf('IMAGE', counts.candidatesTokensDetails)
  return {
    ...noUsage,
    promptTokens,
    completionTokens: (counts.candidatesTokenCount ?? 0) + reasoningTokens,
    cachedPromptTokens: Math.min(counts.cachedContentTokenCount ?? 0, promptTokens),
    reasoningTokens,
    audioPromptTokens: tokensOf('AUDIO', counts.promptTokensDetails),
    audioCompletionTokens: tokensOf('AUDIO', counts.candidatesTokensDetails),
    ...(imagesIn > 0 ? { imagePromptTokens: imagesIn } : {}),
    ...(imagesOut > 0 ? { imageCompletionTokens: imagesOut } : {}),
  }
}

/** OpenAI's `usage` of a chat. */
export function usageFields(usage: TokenUsage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cachedPromptTokens,
      audio_tokens: usage.audioPromptTokens,
    },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoningTokens,
      audio_tokens: usage.audioCompletionTokens,
    },
  }
}

function tokensOf(kind: 'AUDIO' | 'IMAGE', details: z.infer<typeof modalities>): number {
  const ofKind = details?.filter(({ modality }) => modality === kind) ?? []
  return ofKind.reduce((sum, { tokenCount }) => sum + (tokenCount ?? 0), 0)
}

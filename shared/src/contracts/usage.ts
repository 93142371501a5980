// The usage event: what one attempt consumed. A worker publishes it before it acks the job; billing
// turns it into exactly one ledger entry, keyed by (requestId, attempt), however often it arrives.
import { z } from 'zod'
import { reservationRelease } from './budget.ts'
import { errorInfo } from './errors.ts'
import { caller, operation } from './request.ts'

const count = z.int().min(0)

/**
 * What tokens may be billed at instead of the normal price: a service tier that the upstream says it
 * served them in, or Penstock's own batches. OpenAI's `scale` is paid beforehand: it has no price.
 */
export const serviceTier = z.enum(['priority', 'flex', 'scale'])
export type ServiceTier = z.infer<typeof serviceTier>
export const billedRate = z.enum([...serviceTier.options, 'batch'])
export type BilledRate = z.infer<typeof billedRate>

export const tokenUsage = z.object({
  promptTokens: count,
  completionTokens: count,
  /** Parts of promptTokens. */
  cachedPromptTokens: count,
  cacheWriteTokens: count,
  audioPromptTokens: count,
  /** Parts of completionTokens. */
  reasoningTokens: count,
  audioCompletionTokens: count,
  /** A part of promptTokens, and one of completionTokens; absent where the upstream names none. */
  imagePromptTokens: count.optional(),
  imageCompletionTokens: count.optional(),
  /** Length of the audio that was listened to, in milliseconds; absent where the upstream names none. */
  audioMs: count.optional(),
  /** A part of cacheWriteTokens, written for an hour; absent where the upstream names none. */
  cacheWrite1hTokens: count.optional(),
  /** Absent: the normal one. */
  rate: billedRate.optional(),
  /** True where the upstream reported nothing and we counted the tokens ourselves. */
  estimated: z.boolean(),
})
export type TokenUsage = z.infer<typeof tokenUsage>

const price = z.number().min(0).optional()

/** Prices from the config's `model_info`, in US dollars per token, before they become integers. */
export const configuredPrices = z.object({
  inputCostPerToken: price,
  outputCostPerToken: price,
  cacheReadInputTokenCost: price,
  cacheCreationInputTokenCost: price,
  cacheCreationInputTokenCostAbove1hr: price,
  inputCostPerSecond: price,
  outputCostPerSecond: price,
  inputCostPerTokenPriority: price,
  outputCostPerTokenPriority: price,
  cacheReadInputTokenCostPriority: price,
  inputCostPerTokenFlex: price,
  outputCostPerTokenFlex: price,
  cacheReadInputTokenCostFlex: price,
  inputCostPerTokenBatches: price,
  outputCostPerTokenBatches: price,
})
export type ConfiguredPrices = z.infer<typeof configuredPrices>

/** Where to look a price up when none is configured. */
export const priceRef = z.object({ provider: z.string(), model: z.string() })

export const usageStatus = z.enum(['success', 'failure', 'cancelled', 'interrupted'])

/** Bounded: `truncated` says that more was there. */
export const keptContent = z.object({
  /** The request's body, as JSON text; the reply's, or the events of a stream. */
  request: z.string(),
  reply: z.string(),
  truncated: z.boolean(),
})
export type KeptContent = z.infer<typeof keptContent>

export const usageEvent = z.object({
  requestId: z.string(),
  /** From 1. A retry, a fallback and a redelivery are attempts of their own. */
  attempt: z.int().min(1),
  correlationId: z.string(),
  status: usageStatus,
  error: errorInfo.nullable(),
  operation,
  stream: z.boolean(),
  requestedModel: z.string(),
  group: z.string(),
  deploymentId: z.string(),
  /** The provider's prefix and the model's name there (`hosted_vllm`, `llama3:8b`). */
  provider: z.string(),
  model: z.string(),
  /** Origin and path of the upstream, without credentials. */
  apiBase: z.string().nullable(),
  /** Null: a model that nobody sells. */
  priceRef: priceRef.nullable(),
  prices: configuredPrices.nullable(),
  usage: tokenUsage,
  caller,
  tags: z.array(z.string()),
  sessionId: z.string().nullable(),
  workerId: z.string(),
  /** Epoch milliseconds: accepted by the gateway, begun here, first token, end. */
  receivedAt: z.int(),
  startedAt: z.int(),
  firstTokenAt: z.int().nullable(),
  endedAt: z.int(),
  /** W3C trace context of the attempt, where the request is traced. */
  traceparent: z.string().nullable(),
  /** Prompt and reply, where the key, its team or the config asks for them to be kept. */
  content: keptContent.nullable(),
})
export type UsageEvent = z.infer<typeof usageEvent>

/** One message in USAGE: workers send what gathered while the last one was on its way. */
export const usageBatch = z.array(usageEvent).min(1)
export const usageMessage = z.union([usageBatch, reservationRelease])

export const noUsage: TokenUsage = {
  promptTokens: 0,
  completionTokens: 0,
  cachedPromptTokens: 0,
  cacheWriteTokens: 0,
  audioPromptTokens: 0,
  reasoningTokens: 0,
  audioCompletionTokens: 0,
  estimated: false,
}

// What Converse answers, as a chat.completion, and its stream's events as chunks of one.
import type {
  ContentBlock,
  ContentBlockDelta,
  ConverseCommandOutput,
  ConverseStreamOutput,
} from '@aws-sdk/client-bedrock-runtime'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage, serviceTier, type TokenUsage } from '@penstock/shared/contracts/usage'
import { type Answer, chatCompletion, type FinishReason } from './canonical-answer.ts'
import { ChatChunks } from './canonical-chunks.ts'
import type { ProviderCall } from './provider.ts'
import { unexpectedFrom } from './unexpected-reply.ts'

const finishReasons = new Map<unknown, FinishReason>([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool_calls'],
  ['content_filtered', 'content_filter'],
  ['guardrail_intervened', 'content_filter'],
])

type Served = Pick<ConverseCommandOutput, 'usage' | 'serviceTier'>

/** @throws PenstockError `upstream_invalid_response` */
export function completionOf(output: ConverseCommandOutput, model: string) {
  const content = output.output?.message?.content
  if (content === undefined) throw unexpectedFrom('Bedrock', 'an answer without a message')
  const usage = usageOf(output)
  const answer: Answer = {
    id: null,
    model,
    text: '',
    thinking: [],
    calls: [],
    finish: finishReason(output.stopReason),
    usage,
  }
  for (const block of content) addBlock(answer, block)
  return { body: chatCompletion(answer), usage }
}

/**
 * Emits each event of the stream as it comes.
 * @throws PenstockError `upstream_cut_off` without a messageStop, `upstream_invalid_response` for a
 *   malformed answer; and what the stream throws.
 */
export async function translateConverse(
  call: ProviderCall,
  stream: AsyncIterable<ConverseStreamOutput>,
): Promise<TokenUsage | null> {
  const chunks = new ChatChunks(call.model, null)
  const emit = (events: string) => {
    if (events !== '') call.emit(Buffer.from(events))
  }
  let finish: FinishReason | null = null
  let usage: TokenUsage | null = null
  for await (const event of stream) {
    if (event.contentBlockStart?.start?.toolUse !== undefined) {
      const { start, contentBlockIndex: index = 0 } = event.contentBlockStart
      emit(chunks.call(index, start.toolUse.toolUseId ?? '', start.toolUse.name ?? '', undefined))
    } else if (event.contentBlockDelta !== undefined) {
      const { delta, contentBlockIndex: index = 0 } = event.contentBlockDelta
      if (delta !== undefined) emit(deltaOf(chunks, index, delta))
    } else if (event.contentBlockStop !== undefined) {
      emit(chunks.stop(event.contentBlockStop.contentBlockIndex ?? 0))
    } else if (event.messageStop !== undefined) {
      finish = finishReason(event.messageStop.stopReason)
    } else if (event.metadata !== undefined) {
      usage = usageOf(event.metadata)
    }
  }
  if (finish === null) {
    const message = 'Bedrock ended its stream before the answer was complete.'
    throw new PenstockError('upstream_cut_off', message)
  }
  emit(chunks.end(finish, call.includeUsage ? usage : null))
  return usage
}

function deltaOf(chunks: ChatChunks, index: number, delta: ContentBlockDelta): string {
  if (delta.text !== undefined) return chunks.text(delta.text)
  if (delta.toolUse !== undefined) return chunks.input(index, delta.toolUse.input ?? '')
  const { text, signature, redactedContent } = delta.reasoningContent ?? {}
  if (redactedContent !== undefined) return chunks.redactedThinking(base64(redactedContent))
  if (signature !== undefined) chunks.signature(index, signature)
  return text === undefined ? '' : chunks.thinking(index, text)
}

function addBlock(answer: Answer, block: ContentBlock): void {
  if (block.text !== undefined) answer.text += block.text
  for (const cited of block.citationsContent?.content ?? []) answer.text += cited.text ?? ''
  if (block.toolUse !== undefined) {
    const { toolUseId: id = '', name = '', input } = block.toolUse
    answer.calls.push({ id, name, input })
  }
  const { reasoningText, redactedContent } = block.reasoningContent ?? {}
  if (redactedContent !== undefined) {
    answer.thinking.push({ type: 'redacted_thinking', data: base64(redactedContent) })
  }
  if (reasoningText !== undefined) {
    const { text: thinking = '', signature = '' } = reasoningText
    answer.thinking.push({ type: 'thinking', thinking, signature })
  }
}

/** @throws PenstockError `upstream_invalid_response` for what the model itself got wrong */
function finishReason(stopReason: unknown): FinishReason {
  if (stopReason === 'malformed_model_output' || stopReason === 'malformed_tool_use') {
    throw unexpectedFrom('Bedrock', `an answer that the model malformed (${stopReason})`)
  }
  return finishReasons.get(stopReason) ?? 'stop'
}

/**
 * OpenAI counts cached tokens among those of the prompt; Bedrock counts them apart. Writes for an hour
 * are a part of its writes, and the tier is the one that served (API reference: CacheDetail, ServiceTier).
 */
function usageOf({ usage, serviceTier: tier }: Served): TokenUsage | null {
  if (usage?.inputTokens === undefined && usage?.outputTokens === undefined) return null
  const cached = usage.cacheReadInputTokens ?? 0
  const written = usage.cacheWriteInputTokens ?? 0
  const forAnHour = usage.cacheDetails?.find(({ ttl }) => ttl === '1h')?.inputTokens ?? 0
  const rate = serviceTier.safeParse(tier?.type).data
  return {
    ...noUsage,
    promptTokens: (usage.inputTokens ?? 0) + cached + written,
    completionTokens: usage.outputTokens ?? 0,
    cachedPromptTokens: cached,
    cacheWriteTokens: written,
    ...(forAnHour > 0 ? { cacheWrite1hTokens: forAnHour } : {}),
    ...(rate === undefined ? {} : { rate }),
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

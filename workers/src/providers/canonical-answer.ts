// An answer of an upstream that speaks in content blocks, as OpenAI's chat.completion.
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import { createdNow, newId } from './answer-head.ts'
import type { ThinkingBlock } from './canonical-messages.ts'

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

export interface Answer {
  /** The upstream's own; null: it has none. */
  id: string | null
  model: string
  text: string
  thinking: ThinkingBlock[]
  calls: { id: string; name: string; input: unknown }[]
  finish: FinishReason
  usage: TokenUsage | null
}

/**
 * The tool that stands in for a JSON answer where the upstream has no JSON mode: its input is the
 * answer. The name is LiteLLM's.
 */
export const jsonTool = 'json_tool_call'

export function chatCompletion(answer: Answer): Record<string, unknown> {
  const { model, thinking, usage } = answer
  const json = answer.calls.find(({ name }) => name === jsonTool)
  const calls = answer.calls.filter(({ name }) => name !== jsonTool)
  const text = json === undefined ? answer.text : JSON.stringify(json.input)
  const thoughts = thinking.map((block) => (block.type === 'thinking' ? block.thinking : ''))
  const reasoning = thoughts.join('')
  return {
    id: answer.id ?? newId('chatcmpl-'),
    object: 'chat.completion',
    created: createdNow(),
    model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: text || (calls.length > 0 ? null : ''),
          ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
          ...(thinking.length === 0 ? {} : { thinking_blocks: thinking }),
          ...(calls.length === 0 ? {} : { tool_calls: calls.map(toolCall) }),
        },
        logprobs: null,
        finish_reason: json === undefined ? answer.finish : finishOfJson(answer.finish),
      },
    ],
    ...(usage === null ? {} : { usage: usageFields(usage) }),
  }
}

/** The stand-in tool is the client's answer, not a call for it to make. */
export function finishOfJson(finish: FinishReason): FinishReason {
  return finish === 'tool_calls' ? 'stop' : finish
}

/** OpenAI's `usage`; `cache_write_tokens` is OpenRouter's name, OpenAI has none. */
export function usageFields(usage: TokenUsage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cachedPromptTokens,
      cache_write_tokens: usage.cacheWriteTokens,
    },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  }
}

function toolCall({ id, name, input }: Answer['calls'][number]) {
  return { id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } }
}

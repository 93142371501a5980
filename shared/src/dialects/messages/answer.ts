// What Anthropic's API answers: a Message, its stop reasons and its counts, made of a chat.completion.
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { TokenUsage } from '../../contracts/usage.ts'
import type { Fields } from '../dialect.ts'
import { isFields } from './content.ts'
import { wantsThinking } from './request.ts'

const text = z.string().nullish().catch(null)
const toolCall = z.object({
  id: text,
  function: z.object({ name: text, arguments: text }),
})
const message = z.object({
  content: z.unknown().optional(),
  refusal: text,
  reasoning_content: text,
  /** vLLM's and OpenRouter's name for the same. */
  reasoning: text,
  thinking_blocks: z.array(z.unknown()).nullish().catch(null),
  tool_calls: z.array(toolCall).nullish().catch(null),
})
const reply = z.object({
  id: text,
  model: text,
  choices: z
    .array(z.object({ message, finish_reason: text, stop_reason: z.unknown().optional() }))
    .min(1),
})
const thinkingBlock = z.discriminatedUnion('type', [
  z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
  z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
])
export type ThinkingBlock = z.infer<typeof thinkingBlock>

export function thinkingBlocksOf(value: readonly unknown[] | null | undefined): ThinkingBlock[] {
  return (value ?? []).flatMap((one) => thinkingBlock.safeParse(one).data ?? [])
}

/** @throws ZodError where the reply has no choice */
export function messageOf(canonical: Fields, request: Fields, usage: TokenUsage): Fields {
  const { id, model, choices } = reply.parse(canonical)
  const [choice] = choices
  if (choice === undefined) return {}
  const said = choice.message
  const calls = (said.tool_calls ?? []).map(({ id: callId, function: called }) => ({
    type: 'tool_use',
    id: callId || newCallId(),
    name: called.name ?? '',
    input: inputOf(called.arguments),
  }))
  const texts = textOf(said.content) || said.refusal || ''
  const thoughts = wantsThinking(request) ? thoughtsOf(said) : []
  const finish = choice.finish_reason ?? null
  return {
    ...messageHead(id, model, request),
    content: [...thoughts, ...(texts === '' ? [] : [{ type: 'text', text: texts }]), ...calls],
    ...stopOf(finish, choice.stop_reason, calls.length > 0, request),
    usage: usageOf(usage),
  }
}

export function messageHead(
  id: string | null | undefined,
  model: string | null | undefined,
  request: Fields,
) {
  const bare = (id || randomUUID().replaceAll('-', '')).replace(/^(?:chatcmpl-|msg_)/, '')
  const name = model || String(request.model ?? '')
  return { id: `msg_${bare}`, type: 'message', role: 'assistant', model: name }
}

export function newCallId(): string {
  return `toolu_${randomUUID().replaceAll('-', '')}`
}

const stopReasons = new Map<string | null, string>([
  ['stop', 'end_turn'],
  ['length', 'max_tokens'],
  ['tool_calls', 'tool_use'],
  ['function_call', 'tool_use'],
  ['content_filter', 'refusal'],
])

/**
 * @param finish OpenAI's `finish_reason`; @param matched vLLM's `stop_reason`: the stop sequence that
 *   ended the answer, which OpenAI does not tell
 */
export function stopOf(finish: string | null, matched: unknown, called: boolean, request: Fields) {
  const sequences = Array.isArray(request.stop_sequences) ? request.stop_sequences : []
  if (finish === 'stop' && typeof matched === 'string' && sequences.includes(matched)) {
    return { stop_reason: 'stop_sequence', stop_sequence: matched }
  }
  const reason = stopReasons.get(finish) ?? 'end_turn'
  // Some servers finish with `stop` behind calls.
  const isCalling = called && reason === 'end_turn'
  return { stop_reason: isCalling ? 'tool_use' : reason, stop_sequence: null }
}

/** Anthropic counts the tokens of its cache apart from those of the input. */
export function usageOf(usage: TokenUsage) {
  const { promptTokens, cachedPromptTokens: read, cacheWriteTokens: written } = usage
  return {
    input_tokens: Math.max(0, promptTokens - read - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: usage.completionTokens,
  }
}

function thoughtsOf({ thinking_blocks, reasoning_content, reasoning }: z.infer<typeof message>) {
  const blocks = thinkingBlocksOf(thinking_blocks)
  if (blocks.length > 0) return blocks
  const thinking = reasoning_content || reasoning
  return thinking ? [{ type: 'thinking', thinking, signature: '' }] : []
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part) => (isFields(part) && isString(part.text) ? part.text : '')).join('')
}

function isString(value: unknown): value is string {
  return typeof value === 'string'
}

/** A model may write what is no JSON object: its tool then says what is missing. */
function inputOf(json: string | null | undefined): Fields {
  try {
    const parsed: unknown = JSON.parse(json || '{}')
    return isFields(parsed) ? parsed : {}
  } catch {
    return {}
  }
}

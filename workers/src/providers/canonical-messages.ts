// OpenAI's chat messages, checked once for the providers that translate them into turns of content
// blocks: their schema, their parts' contents, and the rules that such APIs share.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { parseField } from './request-fields.ts'

const lenientText = z.string().nullish().catch(null)
const part = z.looseObject({ type: z.string().default('') })
const toolCall = z.object({
  id: lenientText,
  function: z.object({ name: z.string(), arguments: z.string().nullish() }),
})
// LiteLLM's `thinking_blocks`: what a model thought before, with the signature that proves it.
const thinkingBlock = z.discriminatedUnion('type', [
  z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string().min(1) }),
  z.object({ type: z.literal('redacted_thinking'), data: z.string() }),
])
const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: lenientText,
  thinking_blocks: z.array(z.unknown()).nullish().catch(null),
  cache_control: z.looseObject({ type: z.string() }).nullish().catch(null),
})
const messages = z.array(message).min(1)

export type ChatMessage = z.infer<typeof message>
export type ThinkingBlock = z.infer<typeof thinkingBlock>
export type Part = z.infer<typeof part>

/** What one side says; two of the same side in a row are one. */
export interface Turn<Block> {
  role: 'user' | 'assistant'
  content: Block[]
}

/** Bytes in a `data:` URL (RFC 2397). */
export interface InlineData {
  /** Lower case, without parameters: `image/png`. */
  mediaType: string
  base64: string
}

const textPart = z.object({ text: z.string() })
const refusalPart = z.object({ refusal: z.string() })
const imagePart = z.object({
  image_url: z.union([z.string(), z.object({ url: z.string() }).transform(({ url }) => url)]),
})
const filePart = z.object({
  file: z.object({ file_data: lenientText, file_id: lenientText, filename: lenientText }),
})
const audioPart = z.object({ input_audio: z.object({ data: z.string(), format: z.string() }) })

/** @throws PenstockError `invalid_request` naming the place that is no OpenAI message. */
export function chatMessages(value: unknown): ChatMessage[] {
  return parseField(messages, value, 'messages')
}

/** A content's parts; a text alone is one part. */
export function partsOf(content: ChatMessage['content']): Part[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])
}

/** Blocks without a signature are left out: no model takes them back. */
export function thinkingOf(from: ChatMessage): ThinkingBlock[] {
  return (from.thinking_blocks ?? []).flatMap((block) => thinkingBlock.safeParse(block).data ?? [])
}

/** The text of a `text` or `refusal` part. */
export function textOf(from: Part, place: string): string {
  return from.type === 'refusal'
    ? parseField(refusalPart, from, place).refusal
    : parseField(textPart, from, place).text
}

export function imageUrlOf(from: Part, place: string): string {
  return parseField(imagePart, from, place).image_url
}

export function fileOf(from: Part, place: string) {
  return parseField(filePart, from, place).file
}

export function audioOf(from: Part, place: string) {
  return parseField(audioPart, from, place).input_audio
}

/** Null where it is no base64 `data:` URL. */
export function inlineData(url: string): InlineData | null {
  const comma = url.indexOf(',')
  const head = url.slice(0, Math.max(comma, 0))
  const mediaType = /^data:([^;,]+)(?:;[^;,]+)*;base64$/i.exec(head)?.[1]
  if (mediaType === undefined) return null
  return { mediaType: mediaType.toLowerCase(), base64: url.slice(comma + 1) }
}

/** Anthropic and AWS take letters, digits, `_` and `-` (at most 64); other providers' ids vary. */
export function callId(id: string | null | undefined): string {
  return (id ?? '').replace(/[^\w-]/g, '_').slice(-64)
}

/** @throws PenstockError `invalid_request` when a call's arguments are no JSON object. */
export function argumentsOf(json: string | null | undefined, param: string) {
  if (!json?.trim()) return {}
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (cause) {
    throw new PenstockError('invalid_request', `${param} is not JSON.`, { param, cause })
  }
  return parseField(z.record(z.string(), z.unknown()), value, param)
}

/** Appends to the last turn if it is the same side's; no blocks, no turn. */
export function addTurn<Block>(
  turns: Turn<Block>[],
  role: Turn<Block>['role'],
  blocks: readonly Block[],
): void {
  if (blocks.length === 0) return
  const last = turns.at(-1)
  if (last?.role !== role) turns.push({ role, content: [...blocks] })
  else for (const block of blocks) last.content.push(block)
}

export function unsupportedContent(text: string, param: string): PenstockError {
  return new PenstockError('unsupported_parameter', text, { param })
}

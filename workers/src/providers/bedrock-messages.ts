// OpenAI's chat messages as those of Bedrock's Converse (Amazon Bedrock API Reference, ContentBlock):
// the system's apart, turns that alternate, bytes instead of URLs.
import type {
  ContentBlock,
  DocumentFormat,
  ImageFormat,
  SystemContentBlock,
  ToolResultContentBlock,
} from '@aws-sdk/client-bedrock-runtime'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import {
  addTurn,
  argumentsOf,
  audioOf,
  type ChatMessage,
  callId,
  chatMessages,
  fileOf,
  type InlineData,
  imageUrlOf,
  inlineData,
  type Part,
  partsOf,
  type ThinkingBlock,
  type Turn,
  textOf,
  thinkingOf,
  unsupportedContent,
} from './canonical-messages.ts'

export interface BedrockConversation {
  system: SystemContentBlock[]
  messages: Turn<ContentBlock>[]
}

const imageFormats = new Map<string, ImageFormat>([
  ['image/gif', 'gif'],
  ['image/jpeg', 'jpeg'],
  ['image/jpg', 'jpeg'],
  ['image/png', 'png'],
  ['image/webp', 'webp'],
])
const documentFormats = new Map<string, DocumentFormat>([
  ['application/pdf', 'pdf'],
  ['application/msword', 'doc'],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'docx'],
  ['application/vnd.ms-excel', 'xls'],
  ['application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'xlsx'],
  ['text/csv', 'csv'],
  ['text/html', 'html'],
  ['text/markdown', 'md'],
  ['text/plain', 'txt'],
])
const cacheControl = z.object({ ttl: z.enum(['5m', '1h']).optional().catch(undefined) })
const cachePoint = z.object({
  cachePoint: z.object({ type: z.literal('default'), ttl: z.enum(['5m', '1h']).optional() }),
})

/**
 * @throws PenstockError `invalid_request` for what is no OpenAI message, `unsupported_parameter` for
 *   content that Bedrock cannot take; both name the place in `param`.
 */
export function bedrockConversation(value: unknown): BedrockConversation {
  const system: ContentBlock[] = []
  const messages: Turn<ContentBlock>[] = []
  for (const [index, message] of chatMessages(value).entries()) {
    const blocks = [
      ...blocksOf(message, `messages[${index}]`),
      ...cachePointOf(message.cache_control),
    ]
    const { role } = message
    if (role === 'system' || role === 'developer') system.push(...blocks)
    else addTurn(messages, role === 'assistant' ? 'assistant' : 'user', blocks)
  }
  // Instructions alone are a chat for OpenAI; Converse wants something that a user said.
  return messages.length > 0
    ? { system: system.map(systemBlock), messages }
    : { system: [], messages: [{ role: 'user', content: system }] }
}

/** Tools that were called in this conversation. */
export function calledTools(messages: readonly Turn<ContentBlock>[]): Set<string> {
  const names = messages.flatMap(({ content }) => content.map(({ toolUse }) => toolUse?.name))
  return new Set(names.filter((name) => name !== undefined))
}

/** Whether the last call of tools came without the thinking that Claude wants to precede it. */
export function lacksThinking(messages: readonly Turn<ContentBlock>[]): boolean {
  const last = messages.findLast(({ role }) => role === 'assistant')?.content ?? []
  return last.some(({ toolUse }) => toolUse) && !last.some((block) => block.reasoningContent)
}

/** Claude's `cache_control`, as LiteLLM takes it for Bedrock, too: a cache point behind the block. */
export function cachePointOf(cache: unknown): (ContentBlock & { cachePoint: object })[] {
  const parsed = cacheControl.safeParse(cache).data
  if (parsed === undefined) return []
  return [{ cachePoint: { type: 'default', ...(parsed.ttl ? { ttl: parsed.ttl } : {}) } }]
}

function blocksOf(message: ChatMessage, place: string): ContentBlock[] {
  const content = partsOf(message.content).flatMap((part, index) =>
    contentBlocks(part, `${place}.content[${index}]`),
  )
  if (message.role === 'tool') return toolResult(message, content)
  if (message.role !== 'assistant') return content
  const calls = (message.tool_calls ?? []).map(({ id, function: called }, index) => ({
    toolUse: {
      toolUseId: callId(id),
      name: called.name,
      input: argumentsOf(called.arguments, `${place}.tool_calls[${index}].function.arguments`),
    },
  }))
  return [...thinkingOf(message).map(reasoning), ...content, ...(calls as ContentBlock[])]
}

/** Cache points stand behind a result, not in it; a result may not be empty. */
function toolResult(message: ChatMessage, content: ContentBlock[]): ContentBlock[] {
  const said = content.filter(({ cachePoint: point }) => point === undefined)
  const points = content.filter(({ cachePoint: point }) => point !== undefined)
  const result = said.length > 0 ? (said as ToolResultContentBlock[]) : [{ json: {} }]
  return [
    { toolResult: { toolUseId: callId(message.tool_call_id), content: result } },
    ...points.slice(0, 1),
  ]
}

function reasoning(block: ThinkingBlock): ContentBlock {
  if (block.type === 'redacted_thinking') {
    return { reasoningContent: { redactedContent: Buffer.from(block.data, 'base64') } }
  }
  const { thinking: text, signature } = block
  return { reasoningContent: { reasoningText: { text, signature } } }
}

function contentBlocks(part: Part, place: string): ContentBlock[] {
  const native = cachePoint.safeParse(part).data
  if (native !== undefined) {
    return cachePointOf(native.cachePoint)
  }
  const block = contentBlock(part, place)
  return block === null ? [] : [block, ...cachePointOf(part.cache_control)]
}

function contentBlock(part: Part, place: string): ContentBlock | null {
  switch (part.type) {
    case 'text':
    case 'refusal': {
      const text = textOf(part, place)
      // Converse refuses blank texts.
      return text.trim() === '' ? null : { text }
    }
    case 'image_url':
      return imageBlock(imageUrlOf(part, place), `${place}.image_url`)
    case 'file': {
      const { file_data: data, filename } = fileOf(part, place)
      const file = inlineData(data ?? '')
      const block = file && fromData(file, filename ?? null)
      if (block) return block
      const text = 'Bedrock takes files as base64 data: URLs of documents and images.'
      throw unsupportedContent(text, `${place}.file`)
    }
    case 'input_audio': {
      const { data, format } = audioOf(part, place)
      const source = { bytes: Buffer.from(data, 'base64') }
      return { audio: { format: format === 'wav' ? 'wav' : 'mp3', source } }
    }
    default: {
      const text = `Bedrock does not take content of the type '${part.type}'.`
      throw unsupportedContent(text, `${place}.type`)
    }
  }
}

/** Any link but one to S3 is refused: Bedrock fetches none, and neither do we for a client. */
function imageBlock(url: string, param: string): ContentBlock {
  const data = inlineData(url)
  const block = data && fromData(data, null)
  if (block) return block
  const format = imageFormats.get(`image/${/^s3:.*\.(\w+)$/i.exec(url)?.[1]?.toLowerCase()}`)
  if (format !== undefined) return { image: { format, source: { s3Location: { uri: url } } } }
  if (/^https?:/i.test(url)) {
    const text = 'Images must be sent as base64 in a data: URL, not as a link.'
    throw unsupportedContent(text, param)
  }
  const text = `${param} is not a base64 data: URL of an image or a document.`
  throw new PenstockError('invalid_request', text, { param })
}

/** Null where Bedrock has no block for such bytes. */
function fromData({ mediaType, base64 }: InlineData, filename: string | null): ContentBlock | null {
  const source = { bytes: Buffer.from(base64, 'base64') }
  const image = imageFormats.get(mediaType)
  if (image !== undefined) return { image: { format: image, source } }
  const format = documentFormats.get(mediaType)
  if (format === undefined) return null
  return { document: { format, name: documentName(filename), source } }
}

/** A document's name may hold letters, digits, single spaces, hyphens, parentheses and brackets. */
function documentName(filename: string | null): string {
  const name = (filename ?? '').replace(/\.\w+$/, '').replace(/[^\w\-()[\]]+/g, ' ')
  return name.replaceAll('_', '-').trim().slice(0, 200) || 'document'
}

function systemBlock(block: ContentBlock): SystemContentBlock {
  if (block.text !== undefined) return { text: block.text }
  if (block.cachePoint !== undefined) return { cachePoint: block.cachePoint }
  throw unsupportedContent("Bedrock's system messages are text.", 'messages')
}

// OpenAI's chat messages as Anthropic's: the system's lifted out, turns merged so that they alternate,
// every part a content block, the results of tools in the user's turn that follows their calls.
import { PenstockError } from '@penstock/shared/contracts/errors'
import {
  addTurn,
  argumentsOf,
  type ChatMessage,
  callId,
  chatMessages,
  fileOf,
  type InlineData,
  imageUrlOf,
  inlineData,
  type Part,
  partsOf,
  type Turn,
  textOf,
  thinkingOf,
  unsupportedContent,
} from './canonical-messages.ts'

export type Block = Record<string, unknown> & { type: string }

export interface Conversation {
  system: Block[]
  messages: Turn<Block>[]
}

/** Content blocks of Anthropic's own that a client may send as they are (its API, ContentBlockParam). */
const native = new Set(['container_upload', 'document', 'image', 'search_result'])

/**
 * @throws PenstockError `invalid_request` for what is no OpenAI message, `unsupported_parameter` for
 *   content that Anthropic cannot take; both name the place in `param`.
 */
export function conversationOf(value: unknown): Conversation {
  const system: Block[] = []
  const messages: Turn<Block>[] = []
  for (const [index, message] of chatMessages(value).entries()) {
    const place = `messages[${index}]`
    const blocks = cachedAtEnd(blocksOf(message, place), message)
    const { role } = message
    if (role === 'system' || role === 'developer') system.push(...blocks)
    else addTurn(messages, role === 'assistant' ? 'assistant' : 'user', blocks)
  }
  trimPrefill(messages.at(-1))
  // Instructions alone are a chat for OpenAI; Anthropic wants something that a user said.
  return messages.length > 0
    ? { system, messages }
    : { system: [], messages: [{ role: 'user', content: system }] }
}

/** Tools that were called in this conversation. */
export function calledTools(messages: readonly Turn<Block>[]): Set<string> {
  const called = messages.flatMap(({ content }) =>
    content.filter(({ type }) => type === 'tool_use'),
  )
  return new Set(called.map(({ name }) => String(name)))
}

/** Whether the last call of tools came without the thinking that must precede it. */
export function lacksThinking(messages: readonly Turn<Block>[]): boolean {
  const last = messages.findLast(({ role }) => role === 'assistant')
  const types = new Set(last?.content.map(({ type }) => type))
  return types.has('tool_use') && !types.has('thinking') && !types.has('redacted_thinking')
}

function blocksOf(message: ChatMessage, place: string): Block[] {
  if (message.role === 'tool') return [toolResult(message, place)]
  const content = partsOf(message.content).flatMap((part, index) =>
    contentBlock(part, `${place}.content[${index}]`),
  )
  if (message.role !== 'assistant') return content
  const calls = (message.tool_calls ?? []).map(({ id, function: called }, index) => ({
    type: 'tool_use',
    id: callId(id),
    name: called.name,
    input: argumentsOf(called.arguments, `${place}.tool_calls[${index}].function.arguments`),
  }))
  return [...thinkingOf(message), ...content, ...calls]
}

function toolResult(message: ChatMessage, place: string): Block {
  const { content } = message
  const blocks = partsOf(content).flatMap((part, index) =>
    contentBlock(part, `${place}.content[${index}]`),
  )
  const tool = { type: 'tool_result', tool_use_id: callId(message.tool_call_id) }
  if (blocks.length === 0) return tool
  return { ...tool, content: typeof content === 'string' ? content : blocks }
}

function contentBlock(part: Part, place: string): Block[] {
  switch (part.type) {
    case 'text':
    case 'refusal': {
      const text = textOf(part, place)
      // Anthropic refuses texts without a visible character.
      return text.trim() === '' ? [] : [{ type: 'text', text, ...cacheOf(part) }]
    }
    case 'image_url': {
      const url = imageUrlOf(part, place)
      return [{ ...(fromData(url, null) ?? imageLink(url, place)), ...cacheOf(part) }]
    }
    case 'file':
      return [{ ...fileBlock(part, place), ...cacheOf(part) }]
    default:
      if (native.has(part.type)) return [part]
      throw unsupportedContent(
        `Anthropic does not take content of the type '${part.type}'.`,
        `${place}.type`,
      )
  }
}

function fileBlock(part: Part, place: string): Block {
  const { file_data: data, file_id: id, filename } = fileOf(part, place)
  if (data) {
    const block = fromData(data, filename ?? null)
    if (block !== null) return block
    const param = `${place}.file.file_data`
    const message = `${param} is not a base64 data: URL of a PDF, a text or an image.`
    throw new PenstockError('invalid_request', message, { param })
  }
  if (id && /^https?:/i.test(id)) return { type: 'document', source: { type: 'url', url: id } }
  if (id) return { type: 'document', source: { type: 'file', file_id: id } }
  const param = `${place}.file`
  throw new PenstockError('invalid_request', `${param} has neither data nor an id.`, { param })
}

/** Null where it is no `data:` URL of a kind that Anthropic takes. */
function fromData(url: string, title: string | null): Block | null {
  const data = inlineData(url)
  if (data === null) return null
  const { mediaType } = data
  if (mediaType.startsWith('image/')) {
    return { type: 'image', source: { type: 'base64', media_type: mediaType, data: data.base64 } }
  }
  const source = documentSource(data)
  return source && { type: 'document', source, ...(title === null ? {} : { title }) }
}

function documentSource({ mediaType, base64 }: InlineData): object | null {
  if (mediaType === 'application/pdf') {
    return { type: 'base64', media_type: mediaType, data: base64 }
  }
  if (!mediaType.startsWith('text/')) return null
  const text = Buffer.from(base64, 'base64').toString('utf8')
  return { type: 'text', media_type: 'text/plain', data: text }
}

/** Anthropic fetches links itself. */
function imageLink(url: string, place: string): Block {
  if (/^https?:/i.test(url)) return { type: 'image', source: { type: 'url', url } }
  const param = `${place}.image_url`
  const message = `${param} is neither a link nor a base64 data: URL of an image.`
  throw new PenstockError('invalid_request', message, { param })
}

/** LiteLLM's extension: Anthropic's `cache_control` on a part, or on a message for its last part. */
function cacheOf({ cache_control: cache }: Part): { cache_control?: unknown } {
  return cache === undefined || cache === null ? {} : { cache_control: cache }
}

function cachedAtEnd(blocks: Block[], { cache_control: cache }: ChatMessage): Block[] {
  const last = blocks.at(-1)
  if (last !== undefined && cache) last.cache_control ??= cache
  return blocks
}

/** An answer that is to be continued may not end in white space. */
function trimPrefill(turn: Turn<Block> | undefined): void {
  const last = turn?.content.at(-1)
  if (turn?.role === 'assistant' && last?.type === 'text') last.text = String(last.text).trimEnd()
}

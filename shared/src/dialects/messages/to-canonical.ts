// A request to Anthropic's Messages API as one for a chat completion. What has no place in OpenAI's form
// travels as LiteLLM's extensions of it (`thinking`, `thinking_blocks`, `cache_control`), which a
// worker leaves out where the provider does not read them.
import { parseFields } from '../../parse-fields.ts'
import type { Canonical, Fields } from '../dialect.ts'
import {
  cacheOf,
  documentParts,
  imagePart,
  isFields,
  partsOf,
  searchResultPart,
} from './content.ts'
import {
  type Block,
  type CountTokensRequest,
  type MessagesRequest,
  messagesRequest,
} from './request.ts'

/** @throws PenstockError `invalid_request` */
export function toCanonical(fields: Fields): Canonical {
  return canonicalChat(parseFields(messagesRequest, fields, 'request'))
}

export function canonicalChat(request: CountTokensRequest): Canonical {
  const { system, messages, tools, tool_choice: choice, metadata, priority } = request
  const spoken = messages.flatMap(({ role, content }) => turn(role, partsOf(content)))
  const body: Fields = {
    model: request.model,
    messages: [...(system ? systemMessage(partsOf(system)) : []), ...spoken],
    ...given({
      max_tokens: request.max_tokens,
      stream: request.stream,
      temperature: request.temperature,
      top_p: request.top_p,
      top_k: request.top_k,
      stop: request.stop_sequences?.length ? request.stop_sequences : null,
      tools: tools?.length ? tools.map(toolOf) : null,
      // Without tools there is nothing to choose, and OpenAI refuses a choice.
      ...(tools?.length && choice ? choiceOf(choice) : {}),
      thinking: request.thinking,
      response_format: formatOf(request),
      user: metadata?.user_id,
      metadata: metadataOf(metadata),
      priority,
    }),
  }
  return { operation: 'chat', body }
}

function given(fields: Fields): Fields {
  const set = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(set)
}

function systemMessage(parts: readonly Block[]): Fields[] {
  return parts.length === 0 ? [] : [{ role: 'system', content: contentOf(parts.map(textPart)) }]
}

function turn(role: string, blocks: readonly Block[]): Fields[] {
  if (role === 'assistant') return [assistantMessage(blocks)]
  if (role === 'system') return systemMessage(blocks)
  const results = blocks.filter(({ type }) => type === 'tool_result').map(toolResult)
  const rest = blocks.filter(({ type }) => type !== 'tool_result').flatMap(userParts)
  // OpenAI's tools answer in text alone, so what they show follows as the user's.
  const parts = [...results.flatMap(({ shown }) => shown), ...rest]
  const said = results.map(({ message }) => message)
  return parts.length === 0 && said.length > 0
    ? said
    : [...said, { role: 'user', content: contentOf(parts) }]
}

function userParts(block: Block): Fields[] {
  switch (block.type) {
    case 'text':
      return [textPart(block)]
    case 'image':
      return [imagePart(block)]
    case 'document':
      return documentParts(block)
    case 'search_result':
      return [searchResultPart(block)]
    default:
      return [block]
  }
}

function assistantMessage(blocks: readonly Block[]): Fields {
  const ofType = (...types: string[]) => blocks.filter(({ type }) => types.includes(type))
  const thoughts = ofType('thinking', 'redacted_thinking')
  const reasoning = thoughts.map(({ thinking }) => (typeof thinking === 'string' ? thinking : ''))
  const calls = ofType('tool_use').map(({ id, name, input }) => ({
    id: String(id ?? ''),
    type: 'function',
    function: { name: String(name ?? ''), arguments: JSON.stringify(input ?? {}) },
  }))
  const shown = blocks.filter(({ type }) => type !== 'tool_use' && !thoughts.some(hasType(type)))
  const isText = shown.every(({ type, cache_control }) => type === 'text' && !cache_control)
  const text = shown.map(({ text: said }) => String(said ?? '')).join('')
  return {
    role: 'assistant',
    content: isText ? text || (calls.length > 0 ? null : '') : shown.flatMap(userParts),
    ...(reasoning.join('') === '' ? {} : { reasoning_content: reasoning.join('') }),
    ...(thoughts.length === 0 ? {} : { thinking_blocks: thoughts }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

function hasType(type: string) {
  return (block: Block) => block.type === type
}

/** The result's text, and apart from it the images and documents in it. */
function toolResult(block: Block): { message: Fields; shown: Fields[] } {
  const content = block.content as Parameters<typeof partsOf>[0] | null | undefined
  const parts = partsOf(content ?? '').flatMap(userParts)
  const texts = parts.filter(({ type }) => type === 'text').map(({ text }) => String(text ?? ''))
  const said = texts.join('\n')
  const message = {
    role: 'tool',
    tool_call_id: String(block.tool_use_id ?? ''),
    // OpenAI has no mark for a failed call; the model reads it in the text.
    content: block.is_error === true ? `Error: ${said}` : said,
    ...cacheOf(block),
  }
  return { message, shown: parts.filter(({ type }) => type !== 'text') }
}

function textPart(block: Block): Fields {
  return { type: 'text', text: String(block.text ?? ''), ...cacheOf(block) }
}

/** A single text needs no list, which not every server takes. */
function contentOf(parts: readonly Fields[]): unknown {
  const [first] = parts
  const isPlain = parts.length === 1 && first?.type === 'text' && first.cache_control === undefined
  return isPlain ? first.text : parts
}

/** Anthropic's server tools stay as they are: `untranslatable` tells of them. */
function toolOf(tool: NonNullable<MessagesRequest['tools']>[number]): Fields {
  if (tool.type && tool.type !== 'custom') return tool
  const { name, description, input_schema: parameters, strict } = tool
  const called = {
    name: name ?? '',
    ...(description ? { description } : {}),
    parameters: parameters ?? { type: 'object', properties: {} },
    ...(strict ? { strict } : {}),
  }
  return { type: 'function', function: called, ...cacheOf(tool) }
}

function choiceOf(choice: NonNullable<MessagesRequest['tool_choice']>): Fields {
  const { type, name, disable_parallel_tool_use: oneByOne } = choice
  const parallel = oneByOne === true ? { parallel_tool_calls: false } : {}
  if (type === 'tool') {
    return { tool_choice: { type: 'function', function: { name } }, ...parallel }
  }
  return { tool_choice: type === 'any' ? 'required' : type, ...parallel }
}

function formatOf({ output_config: config }: CountTokensRequest): Fields | null {
  const format = config?.format
  if (format?.type !== 'json_schema') return null
  const schema = format.schema
  return { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
}

/** What the gateway reads there; Anthropic's own `user_id` is OpenAI's `user`. */
function metadataOf(metadata: MessagesRequest['metadata']): Fields | null {
  if (!isFields(metadata)) return null
  const { user_id: _user, ...rest } = metadata
  return Object.keys(rest).length === 0 ? null : rest
}

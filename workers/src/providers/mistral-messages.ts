// OpenAI's chat messages as Mistral's, whose schema forbids every field that it does not have (422,
// `extra_forbidden`): docs.mistral.ai, openapi.yaml, ChatCompletionRequest.
import { createHash } from 'node:crypto'
import { z } from 'zod'
import {
  audioOf,
  type ChatMessage,
  chatMessages,
  fileOf,
  imageUrlOf,
  type Part,
  partsOf,
  textOf,
  unsupportedContent,
} from './canonical-messages.ts'

type Chunk = Record<string, unknown>

const lenientText = z.string().nullish().catch(null)
/** What `chatMessages` leaves out of a message. */
const ownFields = z.array(
  z.object({
    name: lenientText,
    reasoning_content: lenientText,
    reasoning: lenientText,
    prefix: z.boolean().nullish().catch(null),
  }),
)
type OwnFields = z.infer<typeof ownFields>[number]

/**
 * @throws PenstockError `invalid_request` for what is no OpenAI message, `unsupported_parameter` for
 *   content that Mistral cannot take; both name the place in `param`.
 */
export function mistralMessages(value: unknown): Chunk[] {
  const messages = chatMessages(value)
  const own = ownFields.parse(value)
  return messages.map((one, index) => {
    const place = `messages[${index}]`
    const more = own[index] ?? {}
    switch (one.role) {
      case 'system':
      case 'developer':
        return { role: 'system', content: contentOf(one, place) }
      case 'user':
        return { role: 'user', content: contentOf(one, place) }
      case 'assistant':
        return assistantMessage(one, more, place, index === messages.length - 1)
      case 'tool':
        return {
          role: 'tool',
          content: contentOf(one, place),
          ...(one.tool_call_id ? { tool_call_id: mistralCallId(one.tool_call_id) } : {}),
          ...(more.name ? { name: more.name } : {}),
        }
    }
    return one.role satisfies never
  })
}

/**
 * Its thinking goes back as a chunk of the content, as the guide "Reasoning" asks for it. An
 * assistant's message at the end is refused unless it is marked as what the answer begins with.
 */
function assistantMessage(
  from: ChatMessage,
  own: OwnFields,
  place: string,
  isLast: boolean,
): Chunk {
  const thought = own.reasoning_content || own.reasoning
  const content = contentOf(from, place)
  const calls = (from.tool_calls ?? []).map(({ id, function: called }) => ({
    id: mistralCallId(id ?? ''),
    type: 'function',
    function: { name: called.name, arguments: called.arguments || '{}' },
  }))
  return {
    role: 'assistant',
    content: thought ? [thinkingChunk(thought), ...chunksOf(content)] : content,
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
    ...(own.prefix || (isLast && calls.length === 0) ? { prefix: true } : {}),
  }
}

function thinkingChunk(text: string): Chunk {
  return { type: 'thinking', thinking: [{ type: 'text', text }] }
}

function chunksOf(content: string | Chunk[]): Chunk[] {
  if (typeof content !== 'string') return content
  return content === '' ? [] : [{ type: 'text', text: content }]
}

function contentOf({ content }: ChatMessage, place: string): string | Chunk[] {
  if (typeof content === 'string') return content
  const chunks = partsOf(content).map((part, index) => chunkOf(part, `${place}.content[${index}]`))
  return chunks.length === 0 ? '' : chunks
}

function chunkOf(part: Part, place: string): Chunk {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return { type: 'text', text: textOf(part, place) }
    case 'image_url':
      return { type: 'image_url', image_url: imageUrlOf(part, place) }
    case 'input_audio':
      return { type: 'input_audio', input_audio: audioOf(part, place).data }
    case 'file': {
      const { file_data: data, file_id: id, filename } = fileOf(part, place)
      if (id) return { type: 'file', file_id: id }
      const name = filename ? { document_name: filename } : {}
      return { type: 'document_url', document_url: data ?? '', ...name }
    }
    default:
      throw unsupportedContent(`Mistral does not take content of the type '${part.type}'.`, place)
  }
}

/**
 * "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9" (code 3280): the ids that
 * other providers have given are replaced, each by the same one wherever it stands.
 */
export function mistralCallId(id: string): string {
  if (/^[a-zA-Z0-9]{9}$/.test(id)) return id
  return createHash('sha256').update(id).digest('hex').slice(0, 9)
}

// OpenAI's chat messages as Ollama's (api/types.go, Message): text parts joined, images as bare
// base64, tool arguments as objects, every tool result with its tool's name.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import {
  argumentsOf,
  imageUrlOf,
  type Part,
  textOf,
  unsupportedContent,
} from './canonical-messages.ts'
import { parseField } from './request-fields.ts'

export interface OllamaMessage {
  role: string
  content: string
  thinking?: string
  images?: string[]
  tool_calls?: OllamaToolCall[]
  tool_name?: string
  tool_call_id?: string
}

interface OllamaToolCall {
  id?: string
  function: { name: string; arguments: Record<string, unknown> }
}

// Ollama's templates know no developer role; `system` is what it stands for.
const roles = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
} as const

const lenientText = z.string().nullish().catch(null)
const toolCall = z.object({
  id: lenientText,
  function: z.object({ name: z.string(), arguments: z.string().nullish() }),
})
const message = z.object({
  role: z.enum(Object.keys(roles) as (keyof typeof roles)[]),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))]).nullish(),
  name: lenientText,
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: lenientText,
  reasoning_content: lenientText,
  reasoning: lenientText,
})
const messages = z.array(message).min(1)
type Message = z.infer<typeof message>

// Its format does not matter here.
const audioPart = z.object({ input_audio: z.object({ data: z.string() }) })

/**
 * @throws PenstockError `invalid_request` for what is no OpenAI message, `unsupported_parameter` for
 *   content that Ollama cannot take; both name the place in `param`.
 */
export function ollamaMessages(value: unknown): OllamaMessage[] {
  const parsed = parseField(messages, value, 'messages')
  const toolNames = new Map<string, string>()
  return parsed.map((one, index) => {
    for (const { id, function: called } of one.tool_calls ?? []) {
      if (id) toolNames.set(id, called.name)
    }
    return ollamaMessage(one, `messages[${index}]`, toolNames)
  })
}

function ollamaMessage(from: Message, place: string, toolNames: Map<string, string>) {
  const to: OllamaMessage = { role: roles[from.role], ...ollamaContent(from.content, place) }
  const thinking = from.reasoning_content || from.reasoning
  if (thinking && from.role === 'assistant') to.thinking = thinking
  if (from.tool_calls?.length) {
    to.tool_calls = from.tool_calls.map(({ id, function: called }, index) => {
      const param = `${place}.tool_calls[${index}].function.arguments`
      const given = argumentsOf(called.arguments, param)
      return { ...(id ? { id } : {}), function: { name: called.name, arguments: given } }
    })
  }
  if (from.role === 'tool') {
    // OpenAI names the call, Ollama the tool; newer versions take both.
    const toolName = from.name || toolNames.get(from.tool_call_id ?? '')
    if (toolName) to.tool_name = toolName
    if (from.tool_call_id) to.tool_call_id = from.tool_call_id
  }
  return to
}

function ollamaContent(content: Message['content'], place: string) {
  if (typeof content === 'string') return { content }
  const texts: string[] = []
  const images: string[] = []
  for (const [index, part] of (content ?? []).entries()) {
    addPart(part, `${place}.content[${index}]`, texts, images)
  }
  return { content: texts.join('\n'), ...(images.length > 0 ? { images } : {}) }
}

function addPart(part: Part, place: string, texts: string[], images: string[]): void {
  switch (part.type) {
    case 'text':
    case 'refusal':
      texts.push(textOf(part, place))
      return
    case 'image_url':
      images.push(imageData(imageUrlOf(part, place), `${place}.image_url`))
      return
    case 'input_audio':
      // Ollama takes audio in the same list (openai/openai.go, FromChatRequest).
      images.push(parseField(audioPart, part, place).input_audio.data)
      return
    default:
      throw unsupportedContent(`Ollama does not take content of the type '${part.type}'.`, place)
  }
}

/** The base64 of a data: URL. Any other URL is refused: a request must not choose whom we call. */
function imageData(url: string, place: string): string {
  const comma = url.indexOf(',')
  const head = url.slice(0, Math.max(comma, 0))
  if (/^data:/i.test(head) && /;base64$/i.test(head)) return url.slice(comma + 1)
  if (/^https?:/i.test(url)) {
    throw unsupportedContent('Images must be sent as base64 in a data: URL, not as a link.', place)
  }
  throw new PenstockError('invalid_request', `${place} is not a base64 data: URL.`, {
    param: place,
  })
}

// Ollama's chat messages (api/types.go, Message) as OpenAI's: images as parts, tool arguments as JSON
// text, and an id for every tool call, which Ollama's clients may leave out on both sides.
import { z } from 'zod'
import type { Fields } from '../dialect.ts'
import { imagePart } from './request-fields.ts'

const roles = ['system', 'user', 'assistant', 'tool'] as const

export const ollamaMessage = z.looseObject({
  role: z
    .string()
    .toLowerCase()
    .pipe(z.enum(roles, `expected one of ${roles.join(', ')}`)),
  content: z.string().nullish(),
  thinking: z.string().nullish(),
  images: z.array(z.string()).max(1_000).nullish(),
  tool_calls: z
    .array(
      z.looseObject({
        id: z.string().nullish(),
        function: z.looseObject({
          name: z.string().min(1),
          arguments: z.record(z.string(), z.unknown()).nullish(),
        }),
      }),
    )
    .max(1_000)
    .nullish(),
  tool_name: z.string().nullish(),
  tool_call_id: z.string().nullish(),
})
type OllamaMessage = z.infer<typeof ollamaMessage>

interface OpenCall {
  id: string
  name: string
}

/** The same messages give the same ids, so that a conversation's beginning stays what it was. */
export function canonicalMessages(messages: readonly OllamaMessage[]): Fields[] {
  let open: OpenCall[] = []
  return messages.map((message, index) => {
    if (message.role === 'tool') return toolResult(message, open, `call_${index}`)
    if (message.role !== 'assistant') return { role: message.role, content: contentOf(message) }
    const calls = (message.tool_calls ?? []).map((call, position) => ({
      id: call.id || `call_${index}_${position}`,
      type: 'function',
      function: {
        name: call.function.name,
        arguments: JSON.stringify(call.function.arguments ?? {}),
      },
    }))
    open = calls.map(({ id, function: { name } }) => ({ id, name }))
    const content = contentOf(message)
    return {
      role: 'assistant',
      content: content === '' && calls.length > 0 ? null : content,
      ...(message.thinking ? { reasoning_content: message.thinking } : {}),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    }
  })
}

function contentOf({ content, images }: OllamaMessage): string | Fields[] {
  if (!images?.length) return content ?? ''
  const text = content ? [{ type: 'text', text: content }] : []
  return [...text, ...images.map(imagePart)]
}

/** Answers the call that it names: by id, else the first open one of this tool, else the first. */
function toolResult(message: OllamaMessage, open: OpenCall[], otherwise: string): Fields {
  const { tool_call_id: id, tool_name: name, content } = message
  const named = open.findIndex((call) => (id ? call.id === id : !name || call.name === name))
  const [answered] = named < 0 ? [] : open.splice(named, 1)
  return {
    role: 'tool',
    tool_call_id: id || answered?.id || otherwise,
    content: content ?? '',
  }
}

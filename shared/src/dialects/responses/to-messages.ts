// Input items as the messages of a chat: calls and the text before them become one message of the
// assistant, as chat models expect; what a model thought goes back with what it then said.
import { PenstockError } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'
import type { ContentPart, InputItem } from './input-items.ts'
import { thinkingBlocksOf } from './reasoning.ts'

type Message = Fields & { role: string }

/**
 * @throws PenstockError `invalid_request` naming the part: an id of a file that is kept elsewhere, a
 *   file's address; an item reference that was not resolved
 */
export function messagesOf(items: readonly InputItem[]): Message[] {
  const messages: Message[] = []
  /** The assistant's turn as long as nobody else has spoken. */
  let turn: Message | null = null
  const speak = (said: Message | null): Message => {
    if (said !== null) return said
    const begun = { role: 'assistant', content: null }
    messages.push(begun)
    return begun
  }
  for (const [index, item] of items.entries()) {
    const path = `input[${index}]`
    switch (item.type) {
      case 'reasoning':
        turn = speak(turn)
        think(turn, item)
        break
      case 'function_call': {
        turn = speak(turn)
        const { call_id: id, name, arguments: given } = item
        const call = { id, type: 'function', function: { name, arguments: given } }
        turn.tool_calls = [...asList(turn.tool_calls), call]
        break
      }
      case 'function_call_output': {
        turn = null
        const { call_id, output } = item
        const content = typeof output === 'string' ? output : contentOf(output, `${path}.output`)
        messages.push({ role: 'tool', tool_call_id: call_id, content })
        break
      }
      case 'message': {
        if (item.role === 'assistant') {
          // What follows a call or a text is a turn of its own, unless it only was thought so far.
          const isTaken = turn?.content || turn?.tool_calls !== undefined
          turn = speak(isTaken ? null : turn)
          turn.content = contentOf(item.content, `${path}.content`)
          break
        }
        turn = null
        messages.push({ role: item.role, content: contentOf(item.content, `${path}.content`) })
        break
      }
      case 'item_reference':
        throw invalid(`${path}.id`, `there is no item \`${item.id}\``)
    }
  }
  return messages
}

function think(turn: Message, item: InputItem & { type: 'reasoning' }): void {
  const texts = item.content?.length ? item.content : item.summary
  const thought = texts.map(({ text }) => text).join('\n')
  const before = typeof turn.reasoning_content === 'string' ? `${turn.reasoning_content}\n` : ''
  if (thought !== '') turn.reasoning_content = before + thought
  const blocks = thinkingBlocksOf(item.encrypted_content ?? null)
  if (blocks.length > 0) turn.thinking_blocks = [...asList(turn.thinking_blocks), ...blocks]
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

/** One text as a text: not every upstream reads a list of parts. */
function contentOf(parts: readonly ContentPart[], path: string): unknown {
  const [first] = parts
  if (parts.length === 1 && (first?.type === 'input_text' || first?.type === 'output_text')) {
    return first.text
  }
  return parts.map((part, index) => partOf(part, `${path}[${index}]`))
}

function partOf(part: ContentPart, path: string): Fields {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: 'text', text: part.text }
    case 'refusal':
      return { type: 'refusal', refusal: part.refusal }
    case 'input_audio':
      return { type: 'input_audio', input_audio: part.input_audio }
    case 'input_image': {
      const { image_url: url, detail } = part
      if (!url) throw invalid(`${path}.image_url`, 'expected an address or a data URL')
      return { type: 'image_url', image_url: { url, ...(detail ? { detail } : {}) } }
    }
    case 'input_file': {
      const { file_data, filename } = part
      if (!file_data) {
        throw invalid(`${path}.file_data`, 'expected the file itself, as base64 or a data URL')
      }
      return { type: 'file', file: { file_data, ...(filename ? { filename } : {}) } }
    }
  }
}

function invalid(param: string, reason: string): PenstockError {
  return new PenstockError('invalid_request', `Invalid request: ${param}: ${reason}`, { param })
}

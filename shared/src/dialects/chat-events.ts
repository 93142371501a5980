// Canonical events (`data: {…}\n\n`) from bytes that may be cut anywhere, one parsed chunk at a time,
// and what the dialects' streams read of a chunk.
import { z } from 'zod'
import { PenstockError } from '../contracts/errors.ts'

/** As large as a worker lets one event become. */
const maxEventBytes = 8 * 1024 * 1024
const lineFeed = 0x0a

const text = z.string().nullish().catch(null)
const toolCallDelta = z.object({
  index: z.int().min(0).catch(0),
  id: text,
  function: z.object({ name: text, arguments: text }).nullish().catch(null),
})
const delta = z
  .object({
    role: text,
    content: text,
    refusal: text,
    reasoning_content: text,
    /** vLLM's and OpenRouter's name for the same. */
    reasoning: text,
    thinking_blocks: z.array(z.unknown()).nullish().catch(null),
    tool_calls: z.array(toolCallDelta).nullish().catch(null),
    /** A completion's piece stands beside its choice. */
    text,
  })
  .partial()
const choice = z.object({
  index: z.int().min(0).catch(0),
  delta: delta.nullish().catch(null),
  text,
  /** Some servers write `""` where OpenAI has null, behind the reason too. */
  finish_reason: text.transform((reason) => reason || null),
  /** vLLM's: the stop sequence that ended the answer, or a token id. */
  stop_reason: z.unknown().optional(),
  logprobs: z.unknown().optional(),
})
const chunk = z.object({
  id: text,
  model: text,
  created: z.number().nullish().catch(null),
  choices: z.array(choice).catch([]),
  usage: z.unknown().optional(),
})

export type ChatChunk = z.infer<typeof chunk>
export type ChatDelta = z.infer<typeof delta>

export interface ChatEventReader {
  /**
   * The chunks that are whole by now. Fields of another type than OpenAI's read as absent.
   * @throws PenstockError `upstream_invalid_response` for an event that is no JSON object or too large
   */
  push(bytes: Uint8Array): ChatChunk[]
}

export function createChatEventReader(): ChatEventReader {
  let rest: Uint8Array[] = []
  let restBytes = 0
  const numberCalls = createCallNumbers()
  return {
    push(bytes) {
      rest.push(bytes)
      restBytes += bytes.length
      if (!bytes.includes(lineFeed)) {
        if (restBytes > maxEventBytes) throw invalid('an event that is too large')
        return []
      }
      const buffer = Buffer.concat(rest, restBytes)
      const chunks: ChatChunk[] = []
      let start = 0
      // An event's JSON is one line, so a line feed ends it, with or without the blank line.
      for (let end = buffer.indexOf(lineFeed); end !== -1; end = buffer.indexOf(lineFeed, start)) {
        const line = buffer.toString('utf8', start, end).trim()
        start = end + 1
        if (line.startsWith('data:')) chunks.push(numberCalls(parseChunk(line.slice(5))))
      }
      const left = buffer.subarray(start)
      rest = left.length === 0 ? [] : [left]
      restBytes = left.length
      if (restBytes > maxEventBytes) throw invalid('an event that is too large')
      return chunks
    },
  }
}

/**
 * Numbers the calls of each choice anew: some servers number all of them 0, or none, and tell them apart
 * by their ids alone. Put together by such a number, several calls would become one.
 */
function createCallNumbers(): (chunk: ChatChunk) => ChatChunk {
  const choices = new Map<number, { next: number; open: Map<number, CallNumber> }>()
  return (parsed) => {
    for (const { index, delta } of parsed.choices) {
      for (const call of delta?.tool_calls ?? []) {
        const seen = choices.get(index) ?? { next: 0, open: new Map() }
        choices.set(index, seen)
        const known = seen.open.get(call.index)
        if (known === undefined || isOther(call, known)) {
          const number = seen.next++
          seen.open.set(call.index, { number, id: call.id ?? '' })
          call.index = number
        } else call.index = known.number
      }
    }
    return parsed
  }
}

interface CallNumber {
  number: number
  id: string
}

/** Only a first piece names the function; others may repeat the id. */
function isOther({ id, function: called }: z.infer<typeof toolCallDelta>, known: CallNumber) {
  return Boolean(id && called?.name && known.id !== '' && id !== known.id)
}

function parseChunk(json: string): ChatChunk {
  try {
    return chunk.parse(JSON.parse(json))
  } catch {
    throw invalid('an event that is not a chunk of an answer')
  }
}

function invalid(what: string): PenstockError {
  return new PenstockError('upstream_invalid_response', `The upstream sent ${what}.`)
}

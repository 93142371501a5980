// Ollama's streams: one JSON object per line, `done: true` on the last, `{"error": …}` for a failure
// on the way (docs/api/streaming.mdx, docs/api/errors.mdx). Every token of an answer passes here.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { discardRest } from './http.ts'
import type { Translate } from './ollama-endpoint.ts'
import { reportedError } from './ollama-errors.ts'

const newline = 10
const maxLineBytes = 8 * 1024 * 1024
const nothing = Buffer.alloc(0)

/** One line as it was parsed: its fields are unchecked, whoever reads one checks it. */
export interface StreamLine {
  error?: unknown
  done?: unknown
  done_reason?: unknown
  message?: unknown
  response?: unknown
  thinking?: unknown
  logprobs?: unknown
  prompt_eval_count?: unknown
  eval_count?: unknown
}

/** Collects chunks, cut anywhere, into whole lines. */
export class LineBuffer {
  #parts: Uint8Array[] = []
  #bytes = 0

  /** Every line that `chunk` completes, newlines included; empty when it completes none. */
  take(chunk: Uint8Array): Buffer {
    // No byte of a multi-byte UTF-8 character is a newline, so whole lines are whole characters.
    const end = chunk.lastIndexOf(newline) + 1
    if (end === 0) {
      this.#keep(chunk)
      return nothing
    }
    this.#parts.push(chunk.subarray(0, end))
    const lines = this.rest()
    if (end < chunk.length) this.#keep(chunk.subarray(end))
    return lines
  }

  /** What is left after the last newline; the buffer is empty then. */
  rest(): Buffer {
    const [first] = this.#parts
    const whole = first && this.#parts.length === 1 ? first : Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    return Buffer.from(whole.buffer, whole.byteOffset, whole.byteLength)
  }

  #keep(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    if (this.#bytes > maxLineBytes) throw invalid(`sent a line of more than ${maxLineBytes} bytes`)
    this.#parts.push(chunk)
  }
}

/**
 * Translates a streamed answer, line by line, and emits the events of each read in one piece.
 * Resolves with the last line (`done: true`), which holds the token counts.
 * @throws PenstockError `upstream_cut_off` without such a line, `upstream_invalid_response` for a
 *   line that is no JSON object, `upstream_error` for a reported failure; and what `body` throws.
 */
export async function translateStream(
  body: AsyncIterable<Uint8Array>,
  model: string,
  translate: Translate,
  emit: (events: Uint8Array) => void,
): Promise<StreamLine> {
  const buffer = new LineBuffer()
  const last = await untilLast(body, (chunk) =>
    translateLines(buffer.take(chunk).toString('utf8'), model, translate, emit),
  )
  if (last !== null) return last
  const rest = translateRest(buffer.rest().toString('utf8'), model, translate, emit)
  if (rest === null) throw cutOff()
  return rest
}

/**
 * Reads up to the last line, null where none came. The body's end, which frees the connection for reuse,
 * is not waited for: a complete answer stays complete, whatever becomes of its connection.
 */
export async function untilLast(
  body: AsyncIterable<Uint8Array>,
  take: (chunk: Uint8Array) => StreamLine | null,
): Promise<StreamLine | null> {
  const reader = body[Symbol.asyncIterator]()
  try {
    for (let read = await reader.next(); !read.done; read = await reader.next()) {
      const last = take(read.value)
      if (last === null) continue
      discardRest(reader)
      return last
    }
  } catch (error) {
    await reader.return?.()
    throw error
  }
  return null
}

export function cutOff(): PenstockError {
  return new PenstockError('upstream_cut_off', 'Ollama ended the stream before the answer did.')
}

function translateLines(
  text: string,
  model: string,
  translate: Translate,
  emit: (events: Uint8Array) => void,
): StreamLine | null {
  if (text === '') return null
  let events = ''
  try {
    for (const line of text.split('\n')) {
      if (line.trim() === '') continue
      const parsed = parseLine(line)
      if (parsed.error !== undefined) throw reportedError({ error: parsed.error }, model)
      events += translate(parsed)
      if (parsed.done === true) return parsed
    }
    return null
  } finally {
    // What came before a failure in the same read still belongs to the client.
    if (events !== '') emit(Buffer.from(events))
  }
}

/** A last line may lack its newline; if it is no whole line, the stream was cut inside it. */
function translateRest(
  text: string,
  model: string,
  translate: Translate,
  emit: (events: Uint8Array) => void,
): StreamLine | null {
  return isJson(text) ? translateLines(text, model, translate, emit) : null
}

/** @throws PenstockError `upstream_invalid_response` when it is no JSON object */
export function parseLine(line: string): StreamLine {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch (cause) {
    throw invalid('sent a line that is not JSON', cause)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw invalid('sent a line that is not a JSON object')
  }
  return parsed
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function invalid(what: string, cause?: unknown): PenstockError {
  return new PenstockError('upstream_invalid_response', `Ollama ${what}.`, { cause })
}

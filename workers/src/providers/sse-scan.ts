// Cuts an OpenAI-shaped SSE stream into whole events at any chunk boundaries and passes their bytes
// on as they came: no decoding and no JSON.parse per token, only byte searches for what matters.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { streamedError } from './http-error.ts'
import { eventEnd, readEvent, skipBlanks, valueIndex } from './sse-event.ts'

const maxEventBytes = 4 * 1024 * 1024
const LF = 0x0a
const CR = 0x0d
const quote = 0x22
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const colon = 0x3a
const letterN = 0x6e
const dataField = Buffer.from('data: ')
const canonicalStart = Buffer.from('data: {')
const blankLine = Buffer.from('\n\n')
const doneMark = Buffer.from('[DONE]')
const errorWord = Buffer.from('"error"')
const usageWord = Buffer.from('"usage"')
const nothing = new Uint8Array(0)

/**
 * What is emitted is canonical: `data: {…}\n\n`, one or several, one emit for each push. Events that
 * arrive in that form are passed on unchanged, others (CRLF, `data:{`, several data lines, further
 * fields) are rewritten to it; comments and `[DONE]` are left out.
 */
export class SseScanner {
  readonly #emit: (events: Uint8Array) => void
  readonly #includeUsage: boolean
  /** The bytes behind the last whole event, as they came. */
  #rest: Buffer[] = []
  #restBytes = 0
  /** What this push passes on: finished parts, and where the run of unchanged events began. */
  #parts: Uint8Array[] = []
  #runStart = -1
  #done = false
  #usageEvent: Buffer | null = null
  /** The last two emits: a stream without `[DONE]` is whole if they hold a finish_reason. */
  #lastEmits: [Uint8Array, Uint8Array] = [nothing, nothing]

  /** `includeUsage`: whether the client wants the chunk that carries nothing but the usage. */
  constructor(emit: (events: Uint8Array) => void, includeUsage: boolean) {
    this.#emit = emit
    this.#includeUsage = includeUsage
  }

  /** True once `[DONE]` was seen; what follows it is ignored. */
  get done(): boolean {
    return this.#done
  }

  /** The JSON of the last event that carried a usage object; null where none did. */
  get usageEvent(): string | null {
    return this.#usageEvent?.toString() ?? null
  }

  /**
   * @throws PenstockError for an error event (its own status and message), for data that is no JSON
   *   object and for an event over 4 MB (`upstream_invalid_response`); what came before is emitted.
   */
  push(chunk: Uint8Array): void {
    if (this.#done || chunk.length === 0) return
    this.#rest.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    this.#restBytes += chunk.length
    if (!hasLineEnd(chunk)) {
      this.#bound()
      return
    }
    const [first] = this.#rest
    const whole = first !== undefined && this.#rest.length === 1
    const buffer = whole ? first : Buffer.concat(this.#rest, this.#restBytes)
    try {
      const rest = buffer.subarray(this.#scan(buffer))
      this.#rest = rest.length === 0 ? [] : [rest]
      this.#restBytes = rest.length
    } finally {
      this.#flush()
    }
    this.#bound()
  }

  /**
   * The body has ended. A last event without its blank line still counts if it is whole.
   * @throws PenstockError `upstream_cut_off` when neither `[DONE]` nor a finish_reason was seen.
   */
  end(): void {
    if (this.#done) return
    const rest = Buffer.concat(this.#rest)
    const { data } = readEvent(rest, 0, rest.length)
    if (data !== null && (data.equals(doneMark) || parse(data) !== undefined)) this.push(blankLine)
    if (this.#done || this.#lastEmits.some(endsChoice)) return
    const message = 'The upstream ended its stream before the answer was complete.'
    throw new PenstockError('upstream_cut_off', message)
  }

  /** Goes through the whole events in `buffer` and returns where the incomplete rest begins. */
  #scan(buffer: Buffer): number {
    let start = 0
    try {
      while (start < buffer.length && !this.#done) {
        const found = findCanonical(buffer, start)
        if (found === 'incomplete') break
        let end = canonicalEnd
        if (found === 'other form') {
          end = eventEnd(buffer, start)
          if (end === -1) break
          this.#endRun(buffer, start)
          this.#rewrite(buffer, start, end)
        } else if (!mayMatter || this.#isForClient(dataIn(buffer, start, end))) {
          if (this.#runStart < 0) this.#runStart = start
        } else {
          this.#endRun(buffer, start)
        }
        start = end
      }
    } finally {
      this.#endRun(buffer, start)
    }
    return start
  }

  /** An event that is not in canonical form. */
  #rewrite(buffer: Buffer, start: number, end: number): void {
    const { data, isError } = readEvent(buffer, start, end)
    if (data === null || data.length === 0) return
    if (isError) throw streamedError(data.toString())
    if (data.equals(doneMark)) {
      this.#done = true
    } else if (data[0] !== openBrace || data.at(-1) !== closeBrace) {
      throw invalid('data that is not a JSON object')
    } else if (this.#isForClient(data)) {
      this.#parts.push(dataField, data, blankLine)
    }
  }

  /** Takes note of an event that may be an error or carry usage; says if it goes to the client. */
  #isForClient(data: Buffer): boolean {
    if (isError(data)) throw streamedError(data.toString())
    if (data[valueIndex(data, '"usage"')] !== openBrace) return true
    this.#usageEvent = data
    return this.#includeUsage || hasChoices(data)
  }

  #endRun(buffer: Buffer, end: number): void {
    if (this.#runStart >= 0) this.#parts.push(buffer.subarray(this.#runStart, end))
    this.#runStart = -1
  }

  #flush(): void {
    const parts = this.#parts
    const [first] = parts
    if (first === undefined) return
    this.#parts = []
    const events = parts.length === 1 ? first : Buffer.concat(parts)
    this.#lastEmits = [this.#lastEmits[1], events]
    this.#emit(events)
  }

  #bound(): void {
    if (this.#restBytes > maxEventBytes) {
      throw invalid(`an event of more than ${maxEventBytes} bytes`)
    }
  }
}

// What findCanonical found besides its answer, kept here so that a token costs no allocation.
let canonicalEnd = 0
let mayMatter = false

/**
 * Looks for a canonical event at `start` in one pass over its bytes. If there is one, `canonicalEnd`
 * is its end and `mayMatter` tells whether `"usage":` with a value but null, or `"error"`, is in it.
 */
function findCanonical(buffer: Buffer, start: number): 'canonical' | 'incomplete' | 'other form' {
  const known = Math.min(canonicalStart.length, buffer.length - start)
  for (let i = 0; i < known; i += 1) {
    if (buffer[start + i] !== canonicalStart[i]) return 'other form'
  }
  mayMatter = false
  for (let i = start + known; i < buffer.length; i += 1) {
    const byte = buffer[i]
    if (byte === quote) {
      if (buffer[i + 6] === quote && !mayMatter) mayMatter = namesWhatMatters(buffer, i)
    } else if (byte === LF) {
      if (i + 1 === buffer.length) return 'incomplete'
      canonicalEnd = i + blankLine.length
      return buffer[i + 1] === LF && buffer[i - 1] === closeBrace ? 'canonical' : 'other form'
    } else if (byte === CR) {
      return 'other form'
    }
  }
  return 'incomplete'
}

function namesWhatMatters(buffer: Buffer, at: number): boolean {
  if (matches(buffer, at, errorWord)) return true
  if (!matches(buffer, at, usageWord)) return false
  return buffer[at + usageWord.length] !== colon || buffer[at + usageWord.length + 1] !== letterN
}

function matches(buffer: Buffer, at: number, word: Buffer): boolean {
  for (let i = 1; i < word.length; i += 1) {
    if (buffer[at + i] !== word[i]) return false
  }
  return true
}

function dataIn(buffer: Buffer, start: number, end: number): Buffer {
  return buffer.subarray(start + dataField.length, end - blankLine.length)
}

function hasLineEnd(chunk: Uint8Array): boolean {
  return chunk.includes(LF) || chunk.includes(CR)
}

/** `{"error": …}` at the top of the event, or vLLM's older `{"object": "error", "message": …}`. */
function isError(data: Buffer): boolean {
  const object = valueIndex(data, '"object"')
  if (data.subarray(object, object + 7).equals(errorWord)) return true
  const value = data[valueIndex(data, '"error"')]
  if (value !== openBrace && value !== quote) return false
  const event = parse(data)
  return typeof event === 'object' && event !== null && 'error' in event && Boolean(event.error)
}

function hasChoices(data: Buffer): boolean {
  const at = valueIndex(data, '"choices"')
  return data[at] === openBracket && data[skipBlanks(data, at + 1)] !== closeBracket
}

/** Some servers write `""` where OpenAI has null. */
function endsChoice(events: Uint8Array): boolean {
  return /"finish_reason"\s*:\s*"[^"]/.test(Buffer.from(events).toString())
}

function parse(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString())
  } catch {
    return undefined
  }
}

function invalid(what: string): PenstockError {
  const message = `The upstream sent ${what} inside its stream.`
  return new PenstockError('upstream_invalid_response', message)
}

// One server-sent event in its bytes: where it ends, what its data is, and what stands behind a JSON
// key, all without decoding. Line rules: WHATWG HTML, section 9.2.6 (LF, CRLF and CR all end a line).
const LF = 0x0a
const CR = 0x0d
const colon = 0x3a
const space = 0x20
const tab = 0x09

export interface SseEvent {
  /** The data lines joined by a space (in JSON a line break may only stand where a space may). */
  data: Buffer | null
  /** `event: error`, as some servers name it. */
  isError: boolean
}

/** The index behind the blank line that ends the event at `start`; -1 when it has not come yet. */
export function eventEnd(buffer: Buffer, start: number): number {
  let lineStart = start
  while (lineStart < buffer.length) {
    const end = lineEnd(buffer, lineStart)
    const next = nextLine(buffer, end)
    if (next === -1) return -1
    if (end === lineStart) return next
    lineStart = next
  }
  return -1
}

/** Reads the event between `start` and `end`; an unfinished last line counts as a line. */
export function readEvent(buffer: Buffer, start: number, end: number): SseEvent {
  const lines: Buffer[] = []
  let isError = false
  let lineStart = start
  while (lineStart < end) {
    const stop = Math.min(lineEnd(buffer, lineStart), end)
    const line = withoutMark(buffer.subarray(lineStart, stop))
    const data = fieldValue(line, 'data')
    if (data !== null) lines.push(data)
    else if (fieldValue(line, 'event')?.equals(errorName)) isError = true
    lineStart = Math.max(nextLine(buffer, stop), stop + 1)
  }
  const [first] = lines
  if (first === undefined) return { data: null, isError }
  return { data: trim(lines.length === 1 ? first : joined(lines)), isError }
}

/**
 * The index of the value behind the first `"key":` in a JSON text; -1 without one. Inside strings the
 * quotes of such a sequence would be escaped, so only real keys are found, at whatever depth.
 */
export function valueIndex(json: Buffer, quotedKey: string): number {
  let at = json.indexOf(quotedKey)
  while (at !== -1) {
    const behind = skipBlanks(json, at + quotedKey.length)
    if (json[behind] === colon) return skipBlanks(json, behind + 1)
    at = json.indexOf(quotedKey, at + quotedKey.length)
  }
  return -1
}

/** The next byte that is no JSON white space. */
export function skipBlanks(buffer: Buffer, from: number): number {
  let index = from
  while (index < buffer.length && isBlank(buffer[index])) index += 1
  return index
}

const errorName = Buffer.from('error')

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === LF || byte === CR || byte === tab
}

function lineEnd(buffer: Buffer, from: number): number {
  let index = from
  while (index < buffer.length && buffer[index] !== LF && buffer[index] !== CR) index += 1
  return index
}

/** Where the line behind the line end at `end` begins; -1 where that cannot be told yet. */
function nextLine(buffer: Buffer, end: number): number {
  if (end >= buffer.length) return -1
  if (buffer[end] === LF) return end + 1
  if (end + 1 === buffer.length) return -1
  return buffer[end + 1] === LF ? end + 2 : end + 1
}

function fieldValue(line: Buffer, name: string): Buffer | null {
  if (line.length < name.length || line.toString('latin1', 0, name.length) !== name) return null
  if (line.length === name.length) return line.subarray(line.length)
  if (line[name.length] !== colon) return null
  return line.subarray(name.length + (line[name.length + 1] === space ? 2 : 1))
}

/** A stream may begin with a byte order mark, as what .NET writes does. */
function withoutMark(line: Buffer): Buffer {
  return line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? line.subarray(3) : line
}

function joined(lines: Buffer[]): Buffer {
  return Buffer.from(lines.map((line) => line.toString()).join(' '))
}

function trim(data: Buffer): Buffer {
  let end = data.length
  while (end > 0 && isBlank(data[end - 1])) end -= 1
  return data.subarray(Math.min(skipBlanks(data, 0), end), end)
}

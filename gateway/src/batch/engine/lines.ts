// An input file as lines: split on bytes, so that every line knows its number and its place, decoded
// strictly. A line too long to be a request is passed over without being held.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { isDeeperThan } from '../../json-depth.ts'
import { maxBodyBytes } from '../../read-body.ts'

export interface FileLine {
  /** From 1; empty lines count. */
  number: number
  /** Of its first byte in the file, and its length with the line end, in bytes. */
  offset: number
  length: number
  /** Without the line end; null: longer than any request may be. */
  bytes: Buffer | null
}

/** A request and what stands around it in its line. */
export const maxLineBytes = maxBodyBytes + 16_384
const maxDepth = 1_000
const lineFeed = 0x0a
const decoder = new TextDecoder('utf-8', { fatal: true })

export async function* readLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<FileLine> {
  let number = 1
  let offset = 0
  let length = 0
  let parts: Buffer[] = []
  const whole = (): FileLine => {
    const bytes =
      length > maxLineBytes ? null : parts.length === 1 ? parts[0] : Buffer.concat(parts)
    const line = { number, offset, length, bytes: bytes ?? null }
    number += 1
    offset += length
    length = 0
    parts = []
    return line
  }
  for await (const chunk of source) {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let from = 0
    for (;;) {
      const end = view.indexOf(lineFeed, from)
      const part = view.subarray(from, end < 0 ? view.length : end)
      length += part.length
      if (length > maxLineBytes) parts = []
      else if (part.length > 0) parts.push(part)
      if (end < 0) break
      length += 1
      yield whole()
      from = end + 1
    }
  }
  if (length > 0) yield whole()
}

/** The lines of a slice, which is in memory already. @param firstLine the number of the first one */
export function* splitLines(slice: Buffer, firstLine: number): Generator<[number, Buffer]> {
  let number = firstLine
  for (let from = 0; from < slice.length; ) {
    const end = slice.indexOf(lineFeed, from)
    const to = end < 0 ? slice.length : end
    yield [number, slice.subarray(from, to)]
    number += 1
    from = to + 1
  }
}

/**
 * @returns the line's value; undefined where the line is empty
 * @throws PenstockError `invalid_request`, its `param` null: not UTF-8, or not JSON
 */
export function parseLine(bytes: Buffer): unknown {
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch (cause) {
    throw new PenstockError('invalid_request', 'This line is not valid UTF-8.', { cause })
  }
  if (text.trim() === '') return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 200) : 'unreadable'
    throw new PenstockError('invalid_request', `This line is not valid JSON: ${reason}`, { cause })
  }
  if (isDeeperThan(maxDepth, bytes)) {
    const message = `This line is nested deeper than ${maxDepth} levels.`
    throw new PenstockError('invalid_request', message)
  }
  return value
}

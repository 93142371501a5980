// The Range header (RFC 9110, section 14.2): one range of bytes. What is no such range is ignored, as
// the RFC has it, and so are several ranges: the whole file is an answer to them.
import type { ByteRange } from '../storage/storage.ts'

const oneRange = /^bytes=(\d{0,15})-(\d{0,15})$/i

/** @returns null: the whole file */
export function parseRange(
  header: string | undefined,
  bytes: number,
): ByteRange | null | 'unsatisfiable' {
  const [, first = '', last = ''] = oneRange.exec(header?.replaceAll(' ', '') ?? '') ?? []
  if (first === '' && last === '') return null
  if (first === '') {
    const length = Math.min(Number(last), bytes)
    return length === 0 ? 'unsatisfiable' : { start: bytes - length, end: bytes }
  }
  const start = Number(first)
  const end = last === '' ? bytes : Math.min(Number(last) + 1, bytes)
  if (last !== '' && Number(last) < start) return null
  return start >= bytes ? 'unsatisfiable' : { start, end }
}

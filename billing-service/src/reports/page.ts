// A page of an answer: as many rows as were asked for, as far as they fit into one message, and where
// the next page begins.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { z } from 'zod'

/** A page travels in one NATS message (1 MB by default), with room to spare for its frame. */
export const maxPageBytes = 768 * 1024

export interface Page<Row> {
  rows: Row[]
  nextCursor: string | null
}

/**
 * @param found in order, one more than `limit` where there are more
 * @param cursorOf where a row stands in that order
 * @param textOf the row as it travels
 */
export function pageOf<Found, Row>(
  found: readonly Found[],
  limit: number,
  rowOf: (found: Found) => Row,
  cursorOf: (found: Found) => unknown,
  textOf: (row: Row) => string = JSON.stringify,
): Page<Row> {
  const rows: Row[] = []
  let bytes = 0
  let last: Found | null = null
  for (const one of found) {
    const row = rowOf(one)
    bytes += Buffer.byteLength(textOf(row)) + 1
    if (last !== null && (rows.length === limit || bytes > maxPageBytes)) {
      return { rows, nextCursor: encode(cursorOf(last)) }
    }
    rows.push(row)
    last = one
  }
  return { rows, nextCursor: null }
}

/**
 * @returns null where none was given
 * @throws PenstockError `invalid_request` for a cursor that is none of ours
 */
export function readCursor<T>(text: string | undefined, schema: z.ZodType<T>): T | null {
  if (text === undefined) return null
  try {
    return schema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch (cause) {
    const message = 'The cursor is not one that this question gave out.'
    throw new PenstockError('invalid_request', message, { param: 'cursor', cause })
  }
}

function encode(position: unknown): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

// A long list on its way to a client: billing answers page by page, and the rows go out as fast as the
// client reads them; no more than a page is ever held.
import { once } from 'node:events'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Request, Response } from 'express'
import { z } from 'zod'
import { type CsvRow, csvHead, csvLine } from './csv.ts'
import { finishResponse } from './finish-response.ts'

export interface Rows {
  /** So many at most. */
  limit: number
  /** The next page, of at most so many rows; the first one for null. */
  page(cursor: string | null, limit: number): Promise<WrittenPage>
}

/** Rows as the list's format has them. */
export interface WrittenPage {
  rows: number
  text: string | Uint8Array
  nextCursor: string | null
}

/** What stands around the rows of a list. */
export interface ListFrame {
  type: string
  begin: string
  between: string
  end: string
}

/** How rows are written, one after the other. */
export interface ListFormat<Row> extends ListFrame {
  row(row: Row): string
}

/** The most that billing gives at once. */
const pageRows = 500
/** How long a client that reads no further is waited for, in milliseconds. */
const drainMs = 30_000

export const jsonList: ListFormat<unknown> = {
  type: 'application/json',
  begin: '[',
  between: ',',
  row: (row) => JSON.stringify(row),
  end: ']',
}

export function csvList<Row>(
  columns: readonly string[],
  cells: (row: Row) => CsvRow,
): ListFormat<Row> {
  const row = (one: Row) => csvLine(columns, cells(one))
  return { type: 'text/csv', begin: csvHead(columns), between: '', row, end: '' }
}

/**
 * `format=csv`, or an Accept header that prefers it.
 * @throws PenstockError `invalid_request` for another format
 */
export function wantsCsv(req: Request): boolean {
  const { success, data } = z.enum(['csv', 'json']).optional().safeParse(req.query.format)
  if (!success) {
    const message = 'Invalid query: format: expected csv or json'
    throw new PenstockError('invalid_request', message, { param: 'format' })
  }
  return (data ?? req.accepts(['json', 'csv'])) === 'csv'
}

export function writtenPage<Row>(
  format: ListFormat<Row>,
  rows: readonly Row[],
  nextCursor: string | null,
): WrittenPage {
  return { rows: rows.length, text: rows.map(format.row).join(format.between), nextCursor }
}

/** @throws whatever the first page's question throws; later the connection breaks instead */
export async function streamRows(
  res: Response,
  log: Logger,
  frame: ListFrame,
  { limit, page }: Rows,
): Promise<void> {
  let left = limit
  let cursor: string | null = null
  try {
    do {
      const { rows, text, nextCursor }: WrittenPage = await page(cursor, Math.min(left, pageRows))
      if (res.closed) return
      if (!res.headersSent) res.type(frame.type).write(frame.begin)
      if (rows > 0) {
        if (left < limit && frame.between !== '') res.write(frame.between)
        if (!res.write(text)) await drained(res)
      }
      left -= rows
      cursor = nextCursor
    } while (left > 0 && cursor !== null)
    finishResponse(res, frame.end)
  } catch (cause) {
    if (!res.headersSent) throw cause
    // Half a list must not look like a whole one: the connection breaks instead.
    log.info({ correlationId: res.locals.correlationId, err: cause }, 'a list broke off')
    res.destroy()
  }
}

/** @throws Error once the client has left, or if it reads nothing for 30 s */
async function drained(res: Response): Promise<void> {
  const left = new AbortController()
  const onClose = () => left.abort()
  res.once('close', onClose)
  try {
    const signal = AbortSignal.any([left.signal, AbortSignal.timeout(drainMs)])
    await once(res, 'drain', { signal })
  } finally {
    res.off('close', onClose)
  }
}

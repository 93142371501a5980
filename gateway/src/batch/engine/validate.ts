// Checks an input file in one pass, line by line, and cuts it into slices: every bad line is reported
// with its number. Memory is bounded by the longest line and by the number of lines.

import { hash } from 'node:crypto'
import { type BatchFault, batchLine } from '@penstock/shared/contracts/batches'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { parseFields } from '@penstock/shared/parse-fields'
import { z } from 'zod'
import { type FileLine, maxLineBytes, parseLine, readLines } from './lines.ts'
import { prepareLine } from './prepare-line.ts'

/** As OpenAI's. */
export const maxLines = 50_000
export const maxFileBytes = 200_000_000
/** Beyond them the file is not read on. */
const maxFaults = 1_000
/** A slice is one job; it ends with whichever comes first. */
export const sliceLines = 32
export const sliceBytes = 64 * 1024

export interface Slice {
  slice: number
  first_line: number
  lines: number
  byte_offset: number
  byte_length: number
}

export type Validation =
  | { kind: 'faults'; faults: BatchFault[] }
  /** `total`: lines that ask something; empty ones are in slices, but do not count. */
  | { kind: 'slices'; slices: Slice[]; total: number }

export interface ValidateOptions {
  source: AsyncIterable<Uint8Array>
  endpoint: string
  /** @throws PenstockError where the batch's creator cannot use the model */
  checkModel(model: string): void
}

const envelope = batchLine.extend({ body: z.looseObject({}) })
const seenIdLength = 43

/** @throws what the source or, for want of whoever could say, `checkModel` fails with */
export async function validateFile(options: ValidateOptions): Promise<Validation> {
  const { source } = options
  const faults: BatchFault[] = []
  const slices = createSlicer()
  const check = createLineCheck(options)
  let total = 0
  const fault = (line: number | null, code: string, message: string, param: string | null) =>
    faults.push({ code, message, param, line })
  for await (const line of readLines(source)) {
    if (line.offset + line.length > maxFileBytes) {
      fault(null, 'file_too_large', `The file is larger than ${maxFileBytes} bytes.`, null)
      break
    }
    slices.add(line)
    const found = check(line)
    if (found === 'empty') continue
    total += 1
    if (total > maxLines) {
      fault(null, 'too_many_lines', `The file has more than ${maxLines} lines.`, null)
      break
    }
    if (found !== null) fault(line.number, found.code, found.message, found.param)
    if (faults.length >= maxFaults) break
  }
  if (total === 0) fault(null, 'empty_file', 'The file has no line that asks anything.', null)
  if (faults.length > 0) return { kind: 'faults', faults }
  return { kind: 'slices', slices: slices.all, total }
}

type Found = Omit<BatchFault, 'line'> | 'empty' | null

function createLineCheck({ endpoint, checkModel }: ValidateOptions) {
  /** custom_id, or its digest where that is shorter → its line. */
  const seen = new Map<string, number>()
  const isTaken = (customId: string, number: number): number | null => {
    const id = customId.length < seenIdLength ? customId : hash('sha256', customId, 'base64url')
    const other = seen.get(id) ?? null
    if (other === null) seen.set(id, number)
    return other
  }

  return ({ number, bytes }: FileLine): Found => {
    if (bytes === null) {
      const message = `This line is longer than ${maxLineBytes} bytes.`
      return { code: 'line_too_long', message, param: null }
    }
    let value: unknown
    try {
      value = parseLine(bytes)
    } catch (cause) {
      return { code: 'invalid_json_line', message: toErrorInfo(cause).message, param: null }
    }
    if (value === undefined) return 'empty'
    try {
      const { custom_id: customId, url, body } = parseFields(envelope, value, 'line')
      const other = isTaken(customId, number)
      if (other !== null) {
        const message = `The custom_id of this line was taken by line ${other} already.`
        return { code: 'duplicate_custom_id', message, param: 'custom_id' }
      }
      if (url !== endpoint) {
        const message = `The URL of this line is not the batch's endpoint, ${endpoint}.`
        return { code: 'mismatched_url', message, param: 'url' }
      }
      if (body.stream === true) {
        const message = 'Lines of a batch cannot be streamed.'
        return { code: 'stream_not_allowed', message, param: 'body.stream' }
      }
      checkModel(prepareLine(endpoint, body).request.model)
      return null
    } catch (cause) {
      if (!(cause instanceof PenstockError) || cause.info.status >= 500) throw cause
      const { code, message, param } = cause.info
      return { code, message, param }
    }
  }
}

function createSlicer() {
  const all: Slice[] = []
  return {
    all,
    add({ number, offset, length }: FileLine) {
      const last = all.at(-1)
      const isFull =
        last === undefined || last.lines >= sliceLines || last.byte_length + length > sliceBytes
      if (!isFull) {
        last.lines += 1
        last.byte_length += length
        return
      }
      all.push({
        slice: all.length,
        first_line: number,
        lines: 1,
        byte_offset: offset,
        byte_length: length,
      })
    },
  }
}

// What a batch that was cancelled, or whose window is over, leaves undone: every line that has no
// result gets one that says why, so that each custom_id stands in one of the files.
import { batchLine } from '@penstock/shared/contracts/batches'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { ByteRange, Storage } from '../storage/storage.ts'
import { askDatabase, type BatchRow } from '../store/database.ts'
import { parseLine, splitLines } from './lines.ts'
import { type UnaskedCode, unaskedLine } from './output-line.ts'
import { type LineResult, storeResults } from './results.ts'
import type { Runner } from './runner.ts'
import { findOpenSlice, openSlices } from './slices.ts'

const envelope = batchLine.pick({ custom_id: true })

/**
 * To be done again after a crash: what has a result keeps it.
 * @returns false: the input file is gone, and what its other lines were called with it
 */
export async function settleRest(
  { db, storage, log }: Pick<Runner, 'db' | 'storage' | 'log'>,
  { batch_id: batchId, input_file_id: inputId }: BatchRow,
  code: UnaskedCode,
): Promise<boolean> {
  for (const slice of await askDatabase(openSlices(db, batchId, Number.MAX_SAFE_INTEGER))) {
    const open = await askDatabase(findOpenSlice(db, batchId, slice))
    if (open === null) continue
    const bytes = await readBytes(storage, inputId, open)
    if (bytes === null) {
      log.error({ batchId }, 'the input file is gone: lines without result are in neither file')
      return false
    }
    const results: LineResult[] = []
    for (const [number, line] of splitLines(bytes, open.firstLine)) {
      if (open.finished.has(number)) continue
      const value = parseLine(line)
      if (value === undefined) continue
      const known = envelope.safeParse(value)
      if (!known.success) throw new PenstockError('internal_error', 'The input file was changed.')
      const text = unaskedLine(known.data.custom_id, code)
      results.push({ batchId, number, ok: false, dead: false, attempts: 0, text })
    }
    if (results.length > 0) await askDatabase(storeResults(db, results))
  }
  return true
}

async function readBytes(
  storage: Storage,
  fileId: string,
  range: ByteRange,
): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of await storage.read(fileId, range)) chunks.push(chunk)
  } catch (cause) {
    if (toErrorInfo(cause).code === 'not_found') return null
    throw cause
  }
  return Buffer.concat(chunks)
}

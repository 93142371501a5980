// What a batch that was cancelled, or whose window is over, leaves undone: every line that has no
// result gets one that says why, so that each custom_id stands in one of the files.
import { batchLine } from '@penstock/shared/contracts/batches'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { askDatabase, type BatchRow } from '../store/database.ts'
import { parseLine, splitLines } from './lines.ts'
import { type UnaskedCode, unaskedLine } from './output-line.ts'
import { type LineResult, storeResults } from './results.ts'
import type { Runner } from './runner.ts'
import { findOpenSlice, openSlices } from './slices.ts'

const envelope = batchLine.pick({ custom_id: true })

/** To be done again after a crash: what has a result keeps it. */
export async function settleRest(
  { db, storage }: Pick<Runner, 'db' | 'storage'>,
  { batch_id: batchId, input_file_id: inputId }: BatchRow,
  code: UnaskedCode,
): Promise<void> {
  for (const slice of await askDatabase(openSlices(db, batchId, Number.MAX_SAFE_INTEGER))) {
    const open = await askDatabase(findOpenSlice(db, batchId, slice))
    if (open === null) continue
    const chunks: Buffer[] = []
    for await (const chunk of await storage.read(inputId, open)) chunks.push(chunk)
    const results: LineResult[] = []
    for (const [number, bytes] of splitLines(Buffer.concat(chunks), open.firstLine)) {
      if (open.finished.has(number)) continue
      const value = parseLine(bytes)
      if (value === undefined) continue
      const line = envelope.safeParse(value)
      if (!line.success) throw new PenstockError('internal_error', 'The input file was changed.')
      const text = unaskedLine(line.data.custom_id, code)
      results.push({ batchId, number, ok: false, dead: false, attempts: 0, text })
    }
    if (results.length > 0) await askDatabase(storeResults(db, results))
  }
}

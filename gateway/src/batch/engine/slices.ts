// What the engine asks of the tables of batches: rows of live batches, slices and which lines of them
// have their result, and the steps from one status to the next. Each is one statement or transaction.
import type { BatchFault } from '@penstock/shared/contracts/batches'
import { type Kysely, sql } from 'kysely'
import type { BatchDatabase, BatchRow, SliceRow } from '../store/database.ts'
import { liveStatuses, maxLiveBatches } from '../store/files.ts'
import type { Slice } from './validate.ts'

type Db = Kysely<BatchDatabase>

const insertedAtOnce = 1_000

export function liveBatches(db: Db): Promise<BatchRow[]> {
  return db
    .selectFrom('batch')
    .selectAll()
    .where('status', 'in', liveStatuses)
    .orderBy('batch_id')
    .limit(maxLiveBatches)
    .execute()
}

export async function readBatch(db: Db, batchId: string): Promise<BatchRow | null> {
  const row = await db
    .selectFrom('batch')
    .selectAll()
    .where('batch_id', '=', batchId)
    .executeTakeFirst()
  return row ?? null
}

/** The file was good. @returns false: the batch was cancelled meanwhile, or is in work already */
export function beginBatch(
  db: Db,
  batchId: string,
  slices: readonly Slice[],
  total: number,
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const begun = await trx
      .updateTable('batch')
      .set({ status: 'in_progress', in_progress_at: sql`now()`, total })
      .where('batch_id', '=', batchId)
      .where('status', '=', 'validating')
      .returning('batch_id')
      .executeTakeFirst()
    if (begun === undefined) return false
    for (let from = 0; from < slices.length; from += insertedAtOnce) {
      const values = slices
        .slice(from, from + insertedAtOnce)
        .map((one) => ({ batch_id: batchId, ...one }))
      await trx.insertInto('batch_slice').values(values).execute()
    }
    return true
  })
}

export async function failBatch(db: Db, batchId: string, faults: BatchFault[]): Promise<void> {
  await db
    .updateTable('batch')
    .set({ status: 'failed', failed_at: sql`now()`, errors: JSON.stringify(faults, storable) })
    .where('batch_id', '=', batchId)
    .where('status', '=', 'validating')
    .execute()
}

/** What a fault quotes of the file may be cut in the middle of a character, or be none. */
function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '\ufffd') : value
}

/** Slices that are not done, the first ones first. */
export async function openSlices(db: Db, batchId: string, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('batch_slice')
    .select('slice')
    .where('batch_id', '=', batchId)
    .where('done', '=', false)
    .orderBy('slice')
    .limit(limit)
    .execute()
  return rows.map(({ slice }) => slice)
}

export interface OpenSlice {
  firstLine: number
  /** Its bytes in the input file: from `start` up to and without `end`. */
  start: number
  end: number
  /** The lines that have their result. */
  finished: ReadonlySet<number>
  /** For `finishSlice`. */
  version: number
}

/** @returns null: done, or there is no such slice */
export async function findOpenSlice(
  db: Db,
  batchId: string,
  slice: number,
): Promise<OpenSlice | null> {
  const { rows } = await sql<SliceRow & { finished: number[] }>`
    select s.*, array(
      select r.line_number from batch_result r
      where r.batch_id = s.batch_id and r.line_number >= s.first_line
        and r.line_number < s.first_line + s.lines
    ) as finished
    from batch_slice s
    where s.batch_id = ${batchId} and s.slice = ${slice} and not s.done`.execute(db)
  const [row] = rows
  if (row === undefined) return null
  const start = Number(row.byte_offset)
  const end = start + Number(row.byte_length)
  const { first_line: firstLine, version } = row
  return { firstLine, start, end, finished: new Set(row.finished), version }
}

/** @returns false: lines of it were put back since it was read, and are to be run */
export async function finishSlice(
  db: Db,
  batchId: string,
  slice: number,
  version: number,
): Promise<boolean> {
  const done = await db
    .updateTable('batch_slice')
    .set({ done: true })
    .where('batch_id', '=', batchId)
    .where('slice', '=', slice)
    .where('version', '=', version)
    .returning('slice')
    .executeTakeFirst()
  return done !== undefined
}

export async function noteRate(db: Db, batchId: string, rate: number): Promise<void> {
  await db
    .updateTable('batch')
    .set({ lines_per_second: rate })
    .where('batch_id', '=', batchId)
    .execute()
}

export async function countDead(db: Db): Promise<number> {
  const { rows } = await sql<{ dead: number }>`
    select count(*)::integer as dead from batch_result where dead`.execute(db)
  return rows[0]?.dead ?? 0
}

/** Of batches that ended before that moment, and whose dead lines nobody put back. */
export async function forgetOldResults(db: Db, before: Date): Promise<void> {
  for (const table of ['batch_result', 'batch_slice']) {
    await sql`
      delete from ${sql.table(table)} r using batch b
      where b.batch_id = r.batch_id
        and coalesce(b.completed_at, b.expired_at, b.cancelled_at) < ${before}
        and b.status in ('completed', 'expired', 'cancelled')`.execute(db)
  }
}

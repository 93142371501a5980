// Ends a batch: output and error file are written from the results, in the order of the lines, under
// new names, and become the batch's files in the same transaction that ends it. Whatever breaks before
// that leaves the batch as it was, to be ended again, and files that nobody is shown.
import type { BatchStatus } from '@penstock/shared/contracts/batches'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type Kysely, sql, type Transaction } from 'kysely'
import { discard } from '../remove-files.ts'
import { askDatabase, type BatchDatabase, type BatchRow } from '../store/database.ts'
import { beginFile, completeFile, newFileId, type WrittenFile } from '../store/files.ts'
import type { Runner } from './runner.ts'
import { settleRest } from './settle.ts'
import { openSlices, readBatch } from './slices.ts'

type Places = Pick<Runner, 'db' | 'storage' | 'log'>
type Ending = Extract<BatchStatus, 'completed' | 'expired' | 'cancelled'>

const codes = { cancelled: 'batch_cancelled', expired: 'batch_expired' } as const

/** Many times what the answers of fifty thousand lines take. */
const maxOutputBytes = 16_000_000_000
const linesAtOnce = 1_000
const bytesAtOnce = 4 * 1024 * 1024
const lineEnd = Buffer.from('\n')

/** @throws PenstockError `service_unavailable` (507: no space is left): to be tried again */
export async function finalizeBatch(places: Places, batchId: string): Promise<void> {
  const found = await askDatabase(readBatch(places.db, batchId))
  const ending = found === null ? null : await endingOf(places.db, found)
  if (found === null || ending === null) return
  const isWhole = ending === 'completed' || (await settleRest(places, found, codes[ending]))
  const row =
    found.status === 'in_progress'
      ? await askDatabase(beginFinalizing(places.db, batchId, isWhole))
      : found
  if (row === null) return
  const output = await writeFile(places, row, true)
  const errors = await writeFile(places, row, false).catch(async (cause) => {
    await throwAway(places, output)
    throw cause
  })
  const isEnded = await askDatabase(endBatch(places.db, row, ending, { output, errors })).catch(
    async (cause) => {
      await throwAway(places, output, errors)
      throw cause
    },
  )
  if (isEnded) places.log.info({ batchId, ending }, 'batch ended')
  else await throwAway(places, output, errors)
}

/** Null: there is nothing to end, or not yet. */
async function endingOf(
  db: Kysely<BatchDatabase>,
  { batch_id: batchId, status, expires_at: expiresAt }: BatchRow,
): Promise<Ending | null> {
  if (status === 'cancelling') return 'cancelled'
  const isOver = expiresAt.getTime() <= Date.now()
  if (status === 'validating') return isOver ? 'expired' : null
  if (status !== 'in_progress' && status !== 'finalizing') return null
  // Lines that were never asked keep their slice open, whatever was settled of them since.
  if ((await askDatabase(openSlices(db, batchId, 1))).length === 0) return 'completed'
  return isOver ? 'expired' : null
}

/**
 * From here on no line is put back, and no result comes any more.
 * @param isWhole every line should have its result
 * @returns null: lines were put back meanwhile, or another runner ends it
 */
async function beginFinalizing(
  db: Kysely<BatchDatabase>,
  batchId: string,
  isWhole: boolean,
): Promise<BatchRow | null> {
  const row = await db
    .updateTable('batch')
    .set({ status: 'finalizing', finalizing_at: sql`now()` })
    .where('batch_id', '=', batchId)
    .where('status', '=', 'in_progress')
    .$if(isWhole, (query) => query.where(sql<boolean>`completed + failed >= total`))
    .returningAll()
    .executeTakeFirst()
  return row ?? null
}

interface NewFile {
  fileId: string
  written: WrittenFile
}

/** @returns null: no line belongs into it */
async function writeFile(
  { db, storage, log }: Places,
  row: BatchRow,
  ok: boolean,
): Promise<NewFile | null> {
  const { batch_id: batchId, key_id: keyId, user_id: userId, team_id: teamId } = row
  const lines = resultLines(db, batchId, ok)
  const first = await lines.next()
  if (first.done === true) return null
  const fileId = newFileId()
  await askDatabase(beginFile(db, fileId, { keyId, userId, teamId }))
  try {
    const source = chain(first.value, lines)
    const bytes = await storage.put(fileId, source, { maxBytes: maxOutputBytes })
    const seconds = row.output_expires_seconds
    const expiresAt = seconds === null ? null : new Date(Date.now() + seconds * 1_000)
    const filename = `${batchId}_${ok ? 'output' : 'error'}.jsonl`
    return { fileId, written: { purpose: 'batch_output', filename, bytes, expiresAt } }
  } catch (cause) {
    await throwAway({ db, storage, log }, { fileId })
    throw cause
  }
}

async function* chain(first: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield first
  yield* rest
}

/** A few megabytes at a time, or one line where that is larger. */
async function* resultLines(
  db: Kysely<BatchDatabase>,
  batchId: string,
  ok: boolean,
): AsyncGenerator<Buffer> {
  const of = () =>
    db.selectFrom('batch_result').where('batch_id', '=', batchId).where('ok', '=', ok)
  let after = 0
  for (;;) {
    const sizes = await askDatabase(
      of()
        .select(['line_number', sql<number>`octet_length(line)`.as('bytes')])
        .where('line_number', '>', after)
        .orderBy('line_number')
        .limit(linesAtOnce)
        .execute(),
    )
    const through = lastThatFits(sizes)
    if (through === null) return
    const rows = await askDatabase(
      of()
        .select('line')
        .where('line_number', '>', after)
        .where('line_number', '<=', through)
        .orderBy('line_number')
        .execute(),
    )
    yield Buffer.concat(rows.flatMap(({ line }) => [Buffer.from(line), lineEnd]))
    after = through
  }
}

function lastThatFits(sizes: readonly { line_number: number; bytes: number }[]): number | null {
  let last: number | null = null
  let bytes = 0
  for (const one of sizes) {
    bytes += one.bytes
    if (last !== null && bytes > bytesAtOnce) break
    last = one.line_number
  }
  return last
}

/** @returns false: another runner was quicker, or the batch is not to end so any more */
function endBatch(
  db: Kysely<BatchDatabase>,
  row: BatchRow,
  ending: Ending,
  { output, errors }: { output: NewFile | null; errors: NewFile | null },
): Promise<boolean> {
  const { batch_id: batchId, status, finalizing_at: begunAt } = row
  return db.transaction().execute(async (trx) => {
    const ended = await trx
      .updateTable('batch')
      .set({
        status: ending,
        [`${ending}_at`]: sql`now()`,
        lines_per_second: null,
        unasked: ending === 'completed' ? 0 : unaskedOf(batchId),
        output_file_id: output?.fileId ?? null,
        error_file_id: errors?.fileId ?? null,
      })
      .where('batch_id', '=', batchId)
      .where('status', '=', status)
      // It may have been redriven since, and be about to end a second time.
      .where('finalizing_at', 'is not distinct from', begunAt)
      .returning('batch_id')
      .executeTakeFirst()
    if (ended === undefined) return false
    for (const file of [output, errors]) {
      if (file === null) continue
      const shown = await completeFile(trx, file.fileId, file.written)
      if (shown === null) throw new PenstockError('service_unavailable', 'A new file was swept.')
    }
    await replaceFiles(trx, row)
    await forgetResults(trx, batchId)
    return true
  })
}

/** Those from before a redrive: all that they say is in the new ones. */
async function replaceFiles(trx: Transaction<BatchDatabase>, row: BatchRow): Promise<void> {
  const old = [row.output_file_id, row.error_file_id].filter((id) => id !== null)
  if (old.length === 0) return
  await trx
    .updateTable('batch_file')
    .set({ state: 'removing' })
    .where('file_id', 'in', old)
    .execute()
}

/** Nothing else was never asked. */
function unaskedOf(batchId: string) {
  return sql<number>`(
    select count(*) from batch_result where batch_id = ${batchId} and not ok and attempts = 0)`
}

/** They stay while some are dead: the files are written anew from all of them after a redrive. */
async function forgetResults(trx: Transaction<BatchDatabase>, batchId: string): Promise<void> {
  const dead = sql`select from batch_result d where d.batch_id = ${batchId} and d.dead`
  for (const table of ['batch_slice', 'batch_result']) {
    await sql`
      delete from ${sql.table(table)} where batch_id = ${batchId} and not exists (${dead})`.execute(
      trx,
    )
  }
}

async function throwAway(
  { log, ...places }: Places,
  ...files: (Pick<NewFile, 'fileId'> | null)[]
): Promise<void> {
  for (const file of files) {
    if (file === null) continue
    // What cannot be removed now the sweeper removes: its row says that it was never finished.
    await discard(places, file.fileId).catch((err) => log.debug({ err }, 'a file was left behind'))
  }
}

// The rows of batches, and the changes that clients ask for. Each change is one statement or one
// transaction that looks at the status it starts from, so that it meets a runner's own changes safely.
import type { BatchObject, BatchStatus } from '@penstock/shared/contracts/batches'
import { timeOrderedId } from '@penstock/shared/ids'
import { type Insertable, type Kysely, sql, type Transaction } from 'kysely'
import type { BatchDatabase, BatchRow, BatchTable } from './database.ts'
import { liveStatuses, type OwnerFilter, secondsOf } from './files.ts'

type Db = Kysely<BatchDatabase> | Transaction<BatchDatabase>

export interface BatchPage {
  limit: number
  /** The last batch of the page before; null: the first page. */
  after: string | null
}

export function newBatchId(): string {
  return `batch_${timeOrderedId().replaceAll('-', '')}`
}

/** @returns null: its input file is gone */
export function insertBatch(
  db: Kysely<BatchDatabase>,
  values: Insertable<BatchTable>,
): Promise<BatchRow | null> {
  return db.transaction().execute(async (trx) => {
    if (!(await holdFile(trx, values.input_file_id))) return null
    return trx.insertInto('batch').values(values).returningAll().executeTakeFirstOrThrow()
  })
}

/** Until the transaction ends: whoever deletes the file then sees that it is used. */
async function holdFile(trx: Transaction<BatchDatabase>, fileId: string): Promise<boolean> {
  const file = await trx
    .selectFrom('batch_file')
    .select('file_id')
    .where('file_id', '=', fileId)
    .where('state', '=', 'ready')
    .forShare()
    .executeTakeFirst()
  return file !== undefined
}

/** How many batches have not ended: all of them, and those of a key. */
export async function countLive(
  db: Db,
  keyId: string | null,
): Promise<{ all: number; own: number }> {
  const { rows } = await sql<{ all: number; own: number }>`
    select count(*)::integer as all, count(*) filter (where key_id = ${keyId})::integer as own
    from batch where status in (${sql.join(liveStatuses)})`.execute(db)
  return rows[0] ?? { all: 0, own: 0 }
}

export async function findBatch(
  db: Db,
  batchId: string,
  owner: OwnerFilter,
): Promise<BatchRow | null> {
  const row = await owned(db, owner).where('batch_id', '=', batchId).executeTakeFirst()
  return row ?? null
}

/** Newest first; up to `limit` + 1 rows: the last one tells that there are more. */
export function listBatches(
  db: Db,
  owner: OwnerFilter,
  dialect: BatchRow['dialect'],
  { after, limit }: BatchPage,
): Promise<BatchRow[]> {
  return owned(db, owner)
    .where('dialect', '=', dialect)
    .$if(after !== null, (query) => query.where('batch_id', '<', after))
    .orderBy('batch_id', 'desc')
    .limit(limit + 1)
    .execute()
}

function owned(db: Db, owner: OwnerFilter) {
  return db
    .selectFrom('batch')
    .selectAll()
    .$if(owner !== null, (query) => query.where('key_id', '=', owner?.keyId ?? ''))
}

/** @returns the batch as it now is; null: its status does not allow it */
export async function cancelBatch(db: Db, batchId: string): Promise<BatchRow | null> {
  const row = await db
    .updateTable('batch')
    .set({ status: 'cancelling', cancelling_at: sql`now()`, paused: false })
    .where('batch_id', '=', batchId)
    .where('status', 'in', ['validating', 'in_progress'])
    .returningAll()
    .executeTakeFirst()
  return row ?? null
}

/** @returns the batch as it now is; null: its status does not allow it */
export async function setPaused(
  db: Db,
  batchId: string,
  paused: boolean,
): Promise<BatchRow | null> {
  const row = await db
    .updateTable('batch')
    .set({ paused })
    .where('batch_id', '=', batchId)
    .where('status', 'in', ['validating', 'in_progress'])
    .returningAll()
    .executeTakeFirst()
  return row ?? null
}

/** Of the others, lines that never ran would run as well. */
const redrivable: readonly BatchStatus[] = ['in_progress', 'completed']

/**
 * Puts all dead lines of a batch back: their results are forgotten, their slices open again, and a batch
 * that had ended is in progress once more, with its whole completion window before it.
 * @param windowMs the completion window
 * @returns how many lines; null: its status does not allow it; `gone`: its input file does not
 */
export function redriveDead(
  db: Kysely<BatchDatabase>,
  batchId: string,
  windowMs: number,
): Promise<number | 'gone' | null> {
  return db.transaction().execute(async (trx) => {
    const batch = await trx
      .selectFrom('batch')
      .select(['status', 'input_file_id'])
      .where('batch_id', '=', batchId)
      .forUpdate()
      .executeTakeFirst()
    if (batch === undefined || !redrivable.includes(batch.status)) return null
    if ((await listDead(trx, batchId, { after: 0, limit: 0 })).length === 0) return 0
    if (!(await holdFile(trx, batch.input_file_id))) return 'gone'
    const { rows } = await sql<{ dead: number }>`
      with dead as (
        delete from batch_result where batch_id = ${batchId} and dead returning line_number
      ), opened as (
        update batch_slice s set done = false, version = version + 1
        where s.batch_id = ${batchId} and exists (
          select from dead d
          where d.line_number >= s.first_line and d.line_number < s.first_line + s.lines
        )
      )
      select count(*)::integer as dead from dead`.execute(trx)
    const dead = rows[0]?.dead ?? 0
    const hadEnded = batch.status !== 'in_progress'
    await trx
      .updateTable('batch')
      .set(({ eb }) => ({
        failed: eb('failed', '-', dead),
        ...(hadEnded ? { ...reopened, expires_at: new Date(Date.now() + windowMs) } : {}),
      }))
      .where('batch_id', '=', batchId)
      .execute()
    return dead
  })
}

const reopened = {
  status: 'in_progress',
  finalizing_at: null,
  completed_at: null,
} as const

export interface DeadLetter {
  line_number: number
  attempts: number
  /** As it stands in the error file. */
  line: string
  finished_at: Date
}

/** By line number; up to `limit` + 1 rows: the last one tells that there are more. */
export function listDead(
  db: Db,
  batchId: string,
  { after, limit }: { after: number; limit: number },
): Promise<DeadLetter[]> {
  return db
    .selectFrom('batch_result')
    .select(['line_number', 'attempts', 'line', 'finished_at'])
    .where('batch_id', '=', batchId)
    .where('dead', '=', true)
    .where('line_number', '>', after)
    .orderBy('line_number')
    .limit(limit + 1)
    .execute()
}

export function batchObjectOf(row: BatchRow, now: number = Date.now()): BatchObject {
  const moment = (date: Date | null) => (date === null ? null : secondsOf(date))
  const { total, completed, failed, lines_per_second: rate } = row
  const isRunning = row.status === 'in_progress' && !row.paused
  const knownRate = isRunning && rate !== null && rate > 0 ? rate : null
  const secondsLeft = knownRate === null ? null : (total - completed - failed) / knownRate
  return {
    id: row.batch_id,
    object: 'batch',
    endpoint: row.endpoint,
    errors: row.errors === null ? null : { object: 'list', data: row.errors },
    input_file_id: row.input_file_id,
    completion_window: row.completion_window,
    status: row.status,
    output_file_id: row.output_file_id,
    error_file_id: row.error_file_id,
    created_at: secondsOf(row.created_at),
    in_progress_at: moment(row.in_progress_at),
    expires_at: secondsOf(row.expires_at),
    finalizing_at: moment(row.finalizing_at),
    completed_at: moment(row.completed_at),
    failed_at: moment(row.failed_at),
    expired_at: moment(row.expired_at),
    cancelling_at: moment(row.cancelling_at),
    cancelled_at: moment(row.cancelled_at),
    request_counts: { total, completed, failed },
    metadata: row.metadata,
    paused: row.paused,
    not_before: moment(row.not_before),
    window: row.off_peak,
    on_budget_exceeded: row.on_budget_exceeded,
    lines_per_second: knownRate,
    estimated_completion_at: secondsLeft === null ? null : Math.ceil(now / 1_000 + secondsLeft),
  }
}

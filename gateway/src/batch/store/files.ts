// The rows of files. A file is shown from the moment that its bytes are stored whole (`ready`) until it
// expires or is deleted; whatever is in between belongs to the sweeper.
import type { FileObject } from '@penstock/shared/contracts/batches'
import { timeOrderedId } from '@penstock/shared/ids'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { BatchDatabase, FileRow } from './database.ts'

/** Whose files and batches are meant: those of a key; null: everybody's (the master key). */
export type OwnerFilter = { keyId: string } | null

export interface Owner {
  keyId: string | null
  userId: string | null
  teamId: string | null
}

export interface FilePage {
  limit: number
  /** The last file of the page before; null: the first page. */
  after: string | null
  order: 'asc' | 'desc'
  purpose: string | null
}

export interface WrittenFile {
  purpose: string
  filename: string
  bytes: number
  expiresAt: Date | null
}

type Db = Kysely<BatchDatabase> | Transaction<BatchDatabase>

/** The batches in these states still read their input file. */
export const liveStatuses = ['validating', 'in_progress', 'finalizing', 'cancelling'] as const

/** Beyond them none is made: the runners look at all of them each second. */
export const maxLiveBatches = 10_000

export function newFileId(): string {
  return `file-${timeOrderedId().replaceAll('-', '')}`
}

/** Before the first byte is stored. Again for the same file: its writing begins anew. */
export async function beginFile(db: Db, fileId: string, owner: Owner): Promise<void> {
  await db
    .insertInto('batch_file')
    .values({
      file_id: fileId,
      key_id: owner.keyId,
      user_id: owner.userId,
      team_id: owner.teamId,
      expires_at: null,
    })
    .onConflict((conflict) =>
      conflict.column('file_id').doUpdateSet({ created_at: sql`now()`, state: 'writing' }),
    )
    .execute()
}

/** From here on it is shown. @returns null: it was swept away meanwhile */
export async function completeFile(
  db: Db,
  fileId: string,
  { purpose, filename, bytes, expiresAt }: WrittenFile,
): Promise<FileRow | null> {
  const row = await db
    .updateTable('batch_file')
    .set({ state: 'ready', purpose, filename, bytes, expires_at: expiresAt })
    .where('file_id', '=', fileId)
    .where('state', '=', 'writing')
    .returningAll()
    .executeTakeFirst()
  return row ?? null
}

export async function findFile(
  db: Db,
  fileId: string,
  owner: OwnerFilter,
): Promise<FileRow | null> {
  return (await shown(db, owner).where('file_id', '=', fileId).executeTakeFirst()) ?? null
}

/** Up to `limit` + 1 rows: the last one tells that there are more. */
export function listFiles(db: Db, owner: OwnerFilter, page: FilePage): Promise<FileRow[]> {
  const { after, limit, order, purpose } = page
  return shown(db, owner)
    .$if(purpose !== null, (query) => query.where('purpose', '=', purpose))
    .$if(after !== null, (query) => query.where('file_id', order === 'asc' ? '>' : '<', after))
    .orderBy('file_id', order)
    .limit(limit + 1)
    .execute()
}

/** @returns `used`: it is the input of a batch that still reads it, and stays */
export function markRemoved(
  db: Kysely<BatchDatabase>,
  fileId: string,
  owner: OwnerFilter,
): Promise<'removed' | 'missing' | 'used'> {
  return db.transaction().execute(async (trx) => {
    // A batch that is being made of it holds it.
    const file = await shown(trx, owner)
      .where('file_id', '=', fileId)
      .forUpdate()
      .executeTakeFirst()
    if (file === undefined) return 'missing'
    const user = await trx
      .selectFrom('batch')
      .select('batch_id')
      .where('input_file_id', '=', fileId)
      .where('status', 'in', liveStatuses)
      .executeTakeFirst()
    if (user !== undefined) return 'used'
    await trx
      .updateTable('batch_file')
      .set({ state: 'removing' })
      .where('file_id', '=', fileId)
      .execute()
    return 'removed'
  })
}

/** Once its bytes are gone, or never came. */
export async function forgetFile(db: Db, fileId: string): Promise<void> {
  await db
    .deleteFrom('batch_file')
    .where('file_id', '=', fileId)
    .where('state', '<>', 'ready')
    .execute()
}

/**
 * Marks the files whose time is over as `removing`: the expired ones that no batch still reads, and
 * those whose writing was begun before that moment and never ended.
 * @returns the ids of up to `limit` files whose bytes are to be removed
 */
export async function markOverdue(
  db: Kysely<BatchDatabase>,
  begunBefore: Date,
  limit: number,
): Promise<string[]> {
  const overdue = db
    .selectFrom('batch_file')
    .select('file_id')
    .where(({ eb, and, or, not, exists }) =>
      or([
        eb('state', '=', 'removing'),
        and([eb('state', '=', 'writing'), eb('created_at', '<', begunBefore)]),
        and([
          eb('expires_at', '<=', sql<Date>`now()`),
          not(
            exists(
              eb
                .selectFrom('batch')
                .select('batch_id')
                .whereRef('input_file_id', '=', 'batch_file.file_id')
                .where('status', 'in', liveStatuses),
            ),
          ),
        ]),
      ]),
    )
    .limit(limit)
    .forUpdate()
    .skipLocked()
  const rows = await db
    .updateTable('batch_file')
    .set({ state: 'removing' })
    .where('file_id', 'in', overdue)
    .returning('file_id')
    .execute()
  return rows.map(({ file_id }) => file_id)
}

function shown(db: Db, owner: OwnerFilter) {
  return db
    .selectFrom('batch_file')
    .selectAll()
    .where('state', '=', 'ready')
    .where(({ eb, or }) =>
      or([eb('expires_at', 'is', null), eb('expires_at', '>', sql<Date>`now()`)]),
    )
    .$if(owner !== null, (query) => query.where('key_id', '=', owner?.keyId ?? ''))
}

export function fileObjectOf(row: FileRow): FileObject {
  return {
    id: row.file_id,
    object: 'file',
    bytes: Number(row.bytes),
    created_at: secondsOf(row.created_at),
    expires_at: row.expires_at === null ? null : secondsOf(row.expires_at),
    filename: row.filename,
    purpose: row.purpose,
    status: 'processed',
  }
}

/** Epoch seconds. */
export function secondsOf(moment: Date): number {
  return Math.floor(moment.getTime() / 1_000)
}

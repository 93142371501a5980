// What Anthropic's batches ask of the tables beyond OpenAI's: lists in both directions, and deletion.
import type { Kysely } from 'kysely'
import type { BatchDatabase, BatchRow } from './database.ts'
import { liveStatuses, type OwnerFilter } from './files.ts'

type Db = Kysely<BatchDatabase>

const dialect = 'messages'

export async function findMessageBatch(
  db: Db,
  batchId: string,
  owner: OwnerFilter,
): Promise<BatchRow | null> {
  const row = await owned(db, owner).where('batch_id', '=', batchId).executeTakeFirst()
  return row ?? null
}

export interface MessageBatchPage {
  limit: number
  /** Older than this one: the next page. */
  after: string | null
  /** Newer than this one: the page before. */
  before: string | null
}

/** Newest first. @returns the page, and whether there are more in the direction that was asked */
export async function listMessageBatches(
  db: Db,
  owner: OwnerFilter,
  { limit, after, before }: MessageBatchPage,
): Promise<{ rows: BatchRow[]; hasMore: boolean }> {
  const backwards = before !== null
  const found = await owned(db, owner)
    .$if(after !== null, (query) => query.where('batch_id', '<', after))
    .$if(backwards, (query) => query.where('batch_id', '>', before))
    .orderBy('batch_id', backwards ? 'asc' : 'desc')
    .limit(limit + 1)
    .execute()
  const rows = found.slice(0, limit)
  return { rows: backwards ? rows.reverse() : rows, hasMore: found.length > limit }
}

/**
 * Forgets a batch that has ended; its files are marked as `removing`.
 * @returns the files' ids; null: it has not ended
 */
export function deleteMessageBatch(db: Db, batchId: string): Promise<string[] | null> {
  return db.transaction().execute(async (trx) => {
    const row = await trx
      .deleteFrom('batch')
      .where('batch_id', '=', batchId)
      .where('status', 'not in', liveStatuses)
      .returning(['input_file_id', 'output_file_id', 'error_file_id'])
      .executeTakeFirst()
    if (row === undefined) return null
    const files = [row.input_file_id, row.output_file_id, row.error_file_id]
    const ids = files.filter((id) => id !== null)
    await trx
      .updateTable('batch_file')
      .set({ state: 'removing' })
      .where('file_id', 'in', ids)
      .execute()
    return ids
  })
}

function owned(db: Db, owner: OwnerFilter) {
  return db
    .selectFrom('batch')
    .selectAll()
    .where('dialect', '=', dialect)
    .$if(owner !== null, (query) => query.where('key_id', '=', owner?.keyId ?? ''))
}

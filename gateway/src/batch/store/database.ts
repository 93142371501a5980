// The tables of files and batches as TypeScript knows them, and how to open them: by
// a pool of its own, so that what batches do keeps neither usage nor reservations waiting.
import type { BatchFault, BatchStatus } from '@penstock/shared/contracts/batches'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { openPostgres, type PostgresOptions } from '@penstock/shared/open-postgres'
import type { ColumnType, Generated, JSONColumnType, Kysely, Selectable } from 'kysely'
import pg from 'pg'

/** pg hands bigint out as text; a count of bytes always fits a number. */
type Bytes = ColumnType<string, number, number>

export interface BatchFileTable {
  file_id: string
  state: Generated<'writing' | 'ready' | 'removing'>
  purpose: Generated<string>
  filename: Generated<string>
  bytes: ColumnType<string, number | undefined, number>
  key_id: string | null
  user_id: string | null
  team_id: string | null
  created_at: Generated<Date>
  expires_at: Date | null
}
export type FileRow = Selectable<BatchFileTable>

export interface BatchTable {
  batch_id: string
  dialect: Generated<'chat' | 'messages'>
  status: BatchStatus
  endpoint: string
  input_file_id: string
  output_file_id: string | null
  error_file_id: string | null
  completion_window: string
  output_expires_seconds: number | null
  /** JSON in, as text. */
  metadata: JSONColumnType<Record<string, string> | null, string | null, string | null>
  errors: JSONColumnType<BatchFault[] | null, string | null, string | null>
  on_budget_exceeded: Generated<'fail' | 'wait'>
  not_before: Date | null
  off_peak: string | null
  paused: Generated<boolean>
  correlation_id: string
  traceparent: string | null
  key_id: string | null
  /** The digest in hex that the key cache finds its facts by. */
  by_admin: boolean
  user_id: string | null
  team_id: string | null
  total: Generated<number>
  completed: Generated<number>
  failed: Generated<number>
  unasked: Generated<number>
  lines_per_second: number | null
  created_at: Generated<Date>
  in_progress_at: Date | null
  expires_at: Date
  finalizing_at: Date | null
  completed_at: Date | null
  failed_at: Date | null
  expired_at: Date | null
  cancelling_at: Date | null
  cancelled_at: Date | null
}
export type BatchRow = Selectable<BatchTable>

export interface BatchSliceTable {
  batch_id: string
  slice: number
  /** The first line has the number 1. */
  first_line: number
  lines: number
  byte_offset: Bytes
  byte_length: Bytes
  done: Generated<boolean>
  version: Generated<number>
}
export type SliceRow = Selectable<BatchSliceTable>

export interface BatchResultTable {
  batch_id: string
  line_number: number
  ok: boolean
  dead: Generated<boolean>
  attempts: number
  line: string
  finished_at: Generated<Date>
}

export interface BatchDatabase {
  batch_file: BatchFileTable
  batch: BatchTable
  batch_slice: BatchSliceTable
  batch_result: BatchResultTable
}

/** Connects on first use. `db.destroy()` closes it. */
export function openBatchDatabase(
  options: Omit<PostgresOptions, 'applicationName'>,
): Kysely<BatchDatabase> {
  return openPostgres<BatchDatabase>({ ...options, applicationName: 'penstock-batch' })
}

/** SQLSTATE classes that blame the statement or its data: the same would fail again. */
const lastingClasses = new Set(['22', '23', '42', '54'])
const notMigrated = '42P01'
/** Text that no column holds: the request's, a zero byte in an id say. */
const unstorable = new Set(['22021', '22P05'])

/**
 * The work's result.
 * @throws PenstockError `service_unavailable` where the database is at fault; `invalid_request` where it
 *   was given text that it cannot hold
 */
export async function askDatabase<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (cause instanceof PenstockError) throw cause
    const code = cause instanceof pg.DatabaseError ? (cause.code ?? '') : ''
    if (unstorable.has(code)) {
      const message = 'The request holds characters that cannot be stored, a zero byte for one.'
      throw new PenstockError('invalid_request', message, { cause })
    }
    if (lastingClasses.has(code.slice(0, 2)) && code !== notMigrated) throw cause
    const how = code === notMigrated ? 'is not migrated: run `penstock migrate`' : 'does not answer'
    const message = `The database of files and batches ${how}.`
    throw new PenstockError('service_unavailable', message, { retryAfterMs: 2_000, cause })
  }
}

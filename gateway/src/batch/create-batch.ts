// Makes a batch of a file that lies in the storage already, for whichever dialect asks. It exists from
// the moment that its row is written; telling the runners only makes it begin sooner.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Insertable } from 'kysely'
import type { Asker, BatchAccess } from './routes/batch-route.ts'
import { countLive, insertBatch, newBatchId } from './store/batches.ts'
import { askDatabase, type BatchRow, type BatchTable } from './store/database.ts'
import { maxLiveBatches } from './store/files.ts'

export type NewBatch = Pick<
  Insertable<BatchTable>,
  | 'dialect'
  | 'endpoint'
  | 'input_file_id'
  | 'completion_window'
  | 'output_expires_seconds'
  | 'metadata'
  | 'on_budget_exceeded'
  | 'not_before'
  | 'off_peak'
  | 'correlation_id'
  | 'traceparent'
  | 'total'
>

/** Of one key, which is not to use up what there is for all. */
const maxOfKey = 1_000
const fullRetryMs = 60_000
const unitMs = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Of `24h`, in milliseconds; minutes and days alike. */
export function windowMs(completionWindow: string): number {
  const [, count = '24', unit = 'h'] = /^(\d{1,4})([mhd])$/.exec(completionWindow) ?? []
  return Number(count) * unitMs[unit as keyof typeof unitMs]
}

/** @throws PenstockError `invalid_request` naming the field; `queue_full`; `service_unavailable` */
export async function createBatch(
  { db, queue }: BatchAccess,
  { owner, admin }: Asker,
  batch: NewBatch,
  log: Logger,
): Promise<BatchRow> {
  const now = Date.now()
  const expiresAt = new Date(now + windowMs(batch.completion_window))
  if (batch.not_before != null && !(new Date(batch.not_before) < expiresAt)) {
    const message = 'Invalid request: not_before: it lies beyond the completion_window.'
    throw new PenstockError('invalid_request', message, { param: 'not_before' })
  }
  const live = await askDatabase(countLive(db, admin ? null : owner.keyId))
  if (live.all >= maxLiveBatches || live.own >= maxOfKey) {
    const message = 'Too many batches have not ended yet: create this one when some have.'
    throw new PenstockError('queue_full', message, { retryAfterMs: fullRetryMs })
  }
  const values = {
    ...batch,
    batch_id: newBatchId(),
    status: 'validating' as const,
    key_id: owner.keyId,
    by_admin: admin,
    user_id: owner.userId,
    team_id: owner.teamId,
    created_at: new Date(now),
    expires_at: expiresAt,
  }
  const row = await askDatabase(insertBatch(db, values))
  if (row === null) {
    const message = `The file \`${batch.input_file_id}\` was deleted.`
    throw new PenstockError('invalid_request', message, { param: 'input_file_id' })
  }
  const tell = async () => (await queue()).created(row.batch_id, row.traceparent)
  tell().catch((err) => {
    log.warn({ err, batchId: row.batch_id }, 'runners could not be told of a batch; they will look')
  })
  return row
}

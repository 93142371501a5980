// A batch as Anthropic's clients see it: its own names for the states, moments in RFC 3339, and counts
// that leave `processing` only when all is over.
import type { Request } from 'express'
import type { BatchRow } from './store/database.ts'

const idPrefix = 'msg'

export function messageBatchId({ batch_id: id }: Pick<BatchRow, 'batch_id'>): string {
  return `${idPrefix}${id}`
}

/** @returns what no batch is called, where it is no id of ours */
export function batchIdOf(messageBatchId: string): string {
  return messageBatchId.startsWith(`${idPrefix}batch_`) ? messageBatchId.slice(idPrefix.length) : ''
}

export function hasEnded({ status }: BatchRow): boolean {
  return ['completed', 'failed', 'expired', 'cancelled'].includes(status)
}

export function messageBatchObject(row: BatchRow, req: Request) {
  const ended = hasEnded(row)
  const endedAt = row.completed_at ?? row.failed_at ?? row.expired_at ?? row.cancelled_at
  const id = messageBatchId(row)
  return {
    id,
    type: 'message_batch' as const,
    processing_status: ended ? 'ended' : row.status === 'cancelling' ? 'canceling' : 'in_progress',
    request_counts: countsOf(row),
    ended_at: ended ? rfc3339(endedAt) : null,
    created_at: rfc3339(row.created_at),
    expires_at: rfc3339(row.expires_at),
    archived_at: null,
    cancel_initiated_at: rfc3339(row.cancelling_at),
    results_url: ended ? `${originOf(req)}/v1/messages/batches/${id}/results` : null,
  }
}

const none = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 }

function countsOf(row: BatchRow): typeof none {
  const { status, total, completed: succeeded, failed, unasked } = row
  if (!hasEnded(row)) return { ...none, processing: total }
  if (status === 'failed') return { ...none, errored: total }
  const errored = failed - unasked
  return {
    ...none,
    succeeded,
    errored,
    [status === 'expired' ? 'expired' : 'canceled']: total - succeeded - errored,
  }
}

function rfc3339(moment: Date | null): string | null {
  return moment === null ? null : moment.toISOString()
}

/** As the client reached us; a proxy in front says how it was asked. */
function originOf(req: Request): string {
  const forwarded = req.headers['x-forwarded-proto']
  const scheme = forwarded === 'https' || forwarded === 'http' ? forwarded : req.protocol
  return `${scheme}://${req.headers.host ?? 'localhost'}`
}

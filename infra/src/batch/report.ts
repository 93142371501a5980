// What is told about a batch: how it ended and what is wrong with it, and lists of them.
import type { BatchObject } from '@penstock/shared/contracts/batches'
import { type BatchExitCode, exitCodes } from './batch-error.ts'
import { hasEnded } from './follow.ts'
import { count, duration, several } from './format.ts'
import { progressText } from './progress.ts'

const shownFaults = 10

export function exitCodeOfBatch({ status, request_counts }: BatchObject): BatchExitCode {
  if (status === 'completed') {
    return request_counts.failed > 0 ? exitCodes.someFailed : exitCodes.done
  }
  return status === 'expired' ? exitCodes.someFailed : exitCodes.failed
}

/** `batch_1 completed: 10 lines, 9 answered, 1 failed, in 12 s.` */
export function endText(batch: BatchObject): string {
  const { total, completed, failed } = batch.request_counts
  const endedAt =
    batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at ?? null
  const took = endedAt === null ? '' : `, in ${duration(Math.max(1, endedAt - batch.created_at))}`
  const counts =
    total === 0
      ? ''
      : `: ${several(total, 'line')}, ${count(completed)} answered, ${count(failed)} failed`
  return `${batch.id} ${batch.status}${counts}${took}.`
}

/** Why a batch failed: the first faults with their lines. */
export function faultsText({ errors }: BatchObject): string[] {
  const faults = errors?.data ?? []
  const shown = faults
    .slice(0, shownFaults)
    .map(({ line, message }) => (line === null ? message : `Line ${line}: ${message}`))
  const more = faults.length - shown.length
  return more > 0 ? [...shown, `… and ${several(more, 'more fault')}.`] : shown
}

/** Several lines about one batch. @param now epoch milliseconds */
export function statusText(batch: BatchObject, now: number): string {
  const facts: [string, string | null][] = [
    ['endpoint', batch.endpoint],
    ['made', momentText(batch.created_at)],
    ['starts', batch.not_before === null ? null : momentText(batch.not_before)],
    ['hours', batch.window],
    ['ends by', hasEnded(batch) || batch.expires_at === null ? null : momentText(batch.expires_at)],
    ['budget', batch.on_budget_exceeded === 'wait' ? 'waits when it is used up' : null],
    ['input', batch.input_file_id],
    ['output', batch.output_file_id],
    ['errors', batch.error_file_id],
  ]
  return [
    hasEnded(batch) ? endText(batch) : progressText(batch, batch.lines_per_second, now),
    ...facts.flatMap(([name, value]) => (value === null ? [] : [`  ${name.padEnd(9)}${value}`])),
    ...faultsText(batch).map((fault) => `  ${fault}`),
  ].join('\n')
}

/** One line a batch. */
export function listText(batches: readonly BatchObject[]): string {
  const rows = batches.map(({ id, status, paused, created_at, request_counts, endpoint }) => {
    const { total, completed, failed } = request_counts
    const state = paused && status === 'in_progress' ? 'paused' : status
    const failures = failed === 0 ? '' : `${count(failed)} failed`
    const done = `${count(completed + failed)}/${count(total)}`
    return [id, state, momentText(created_at), done, endpoint, failures]
  })
  const widths = [0, 1, 2, 3, 4].map((column) =>
    Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** In this machine's zone. */
function momentText(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleString('sv-SE')
}

// Runs one line to its result: asked until it is answered, refused for good, or out of attempts.
import { setTimeout as sleep } from 'node:timers/promises'
import { batchLine } from '@penstock/shared/contracts/batches'
import { type ErrorInfo, toErrorInfo } from '@penstock/shared/contracts/errors'
import { timeOrderedId } from '@penstock/shared/ids'
import { parseFields } from '@penstock/shared/parse-fields'
import { z } from 'zod'
import { resolveModel } from '../../access/model-access.ts'
import { askLine } from './ask-line.ts'
import { callerOf } from './caller.ts'
import type { Leave } from './in-flight.ts'
import type { LiveBatch } from './live-batch.ts'
import { answeredLine, failedLine } from './output-line.ts'
import { type PreparedLine, prepareLine } from './prepare-line.ts'
import type { LineResult } from './results.ts'
import { afterFailure } from './retry.ts'
import type { Runner } from './runner.ts'

const envelope = batchLine.extend({ body: z.looseObject({}) })

export interface RunLine {
  runner: Runner
  batch: LiveBatch
  /** No line may start, nor be tried again, once it is aborted. */
  running: AbortSignal
  number: number
  /** The line's JSON, which was checked when the batch was made. */
  value: unknown
  /** Called when the line waits no longer for its place: the next one may be begun. */
  onEntered(): void
}

/** @returns null: it was stopped, and has no result yet */
export async function runLine(line: RunLine): Promise<LineResult | null> {
  const { runner, batch, number, value } = line
  const { custom_id: customId, body } = parseFields(envelope, value, 'line')
  let prepared: PreparedLine
  try {
    prepared = prepareLine(batch.row.endpoint, body)
  } catch (cause) {
    // It was good when it was checked: another version of Penstock did that.
    const error = toErrorInfo(cause)
    const text = failedLine(timeOrderedId(), customId, error, { error })
    return { batchId: batch.row.batch_id, number, ok: false, dead: false, attempts: 1, text }
  }
  let attempts = 0
  for (let tries = 1; ; tries++) {
    const tried = await tryOnce(line, prepared)
    if (tried === null) return null
    attempts += 1
    const result = { batchId: batch.row.batch_id, number, attempts }
    if (tried.kind === 'answered') {
      const text = answeredLine(tried.requestId, customId, tried.text)
      return { ...result, ok: true, dead: false, text }
    }
    const { error, requestId } = tried
    const waitsForBudget = batch.row.on_budget_exceeded === 'wait'
    const verdict = afterFailure({ error, attempts, tries, waitsForBudget }, runner.retry)
    if (verdict.kind === 'fail') {
      const text = failedLine(requestId, customId, error, prepared.errorBody(error, requestId))
      return { ...result, ok: false, dead: verdict.dead, text }
    }
    if (verdict.kind === 'hold') {
      batch.hold(Date.now() + verdict.ms)
      return null
    }
    if (!verdict.counted) attempts -= 1
    const { code } = error
    runner.log.debug({ requestId, batchId: result.batchId, number, code }, 'a line is tried again')
    await sleep(verdict.pauseMs, undefined, { signal: line.running }).catch(() => {})
  }
}

type Tried =
  | { kind: 'answered'; requestId: string; text: string }
  | { kind: 'failed'; requestId: string; error: ErrorInfo }
  | null

async function tryOnce(line: RunLine, prepared: PreparedLine): Promise<Tried> {
  const { runner, batch, running, onEntered } = line
  let leave: Leave | null = null
  try {
    const known = callerOf(runner.keys, batch.row)
    const identity = known instanceof Promise ? await known : known
    const resolved = resolveModel(runner, identity, prepared.request.model)
    leave = await runner.inFlight.enter(resolved.group, running)
    onEntered()
    if (leave === null) return null
    const answer = await askLine(runner, { batch, prepared, identity, resolved })
    if (answer.kind === 'withdrawn') return null
    if (answer.kind === 'failed') return answer
    const { requestId, head, data, end } = answer
    return { kind: 'answered', requestId, text: prepared.answerText(head, data, end) }
  } catch (cause) {
    onEntered()
    const error = toErrorInfo(cause)
    if (error.code === 'internal_error') runner.log.error({ err: cause }, 'a line failed')
    return running.aborted ? null : { kind: 'failed', requestId: timeOrderedId(), error }
  } finally {
    leave?.()
  }
}

// Asks one line's request once, as a client's would be asked: by the same admission and through the
// same queue, in the lowest priority class.
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorInfo, toErrorInfo } from '@penstock/shared/contracts/errors'
import { ranks } from '@penstock/shared/contracts/request'
import { timeOrderedId } from '@penstock/shared/ids'
import { SpanKind, SpanStatusCode, traceparentOf } from '@penstock/shared/telemetry/trace'
import type { ResolvedModel } from '../../access/model-access.ts'
import type { Admitted } from '../../admission/admission.ts'
import type { Identity } from '../../auth.ts'
import { type RequestFacts, requestFacts } from '../../request-facts.ts'
import type { LiveBatch } from './live-batch.ts'
import type { PreparedLine } from './prepare-line.ts'
import type { Runner } from './runner.ts'

export interface Question {
  batch: LiveBatch
  prepared: PreparedLine
  identity: Identity
  resolved: ResolvedModel
}

/** `withdrawn`: the batch ended first. */
export type Answer =
  | { kind: 'answered'; requestId: string; head: FrameHead | null; data: Uint8Array; end: FrameEnd }
  | { kind: 'failed'; requestId: string; error: ErrorInfo }
  | { kind: 'withdrawn' }

/** What a runner that dies has reserved, or counts as running, is free again after that. */
const longestMs = 3_600_000
const noHeaders = { headers: {} }

export async function askLine(runner: Runner, question: Question): Promise<Answer> {
  const { batch, prepared, identity, resolved } = question
  const { request, operation, body } = prepared
  const receivedAt = Date.now()
  const requestId = timeOrderedId()
  const left = batch.row.expires_at.getTime() - receivedAt
  const timeoutMs = Math.max(1, Math.min(longestMs, left))
  try {
    const known = await requestFacts(runner, { from: noHeaders, request, identity, resolved })
    const facts = { ...known, rank: ranks.batch, maxQueueWaitMs: timeoutMs }
    const admitted = await runner.admission.admit({
      requestId,
      facts: identity.facts,
      operation,
      ...resolved,
      request,
      bodyBytes: body.length,
      promptTokens: facts.promptTokens,
      receivedAt,
      timeoutMs,
    })
    return await dispatch(runner, question, { requestId, receivedAt, timeoutMs, facts, admitted })
  } catch (cause) {
    return { kind: 'failed', requestId, error: toErrorInfo(cause) }
  }
}

interface Prepared {
  requestId: string
  receivedAt: number
  timeoutMs: number
  facts: RequestFacts
  admitted: Admitted
}

function dispatch(
  runner: Runner,
  { batch, prepared }: Question,
  { requestId, receivedAt, timeoutMs, facts, admitted }: Prepared,
): Promise<Answer> {
  const { ended } = batch
  const { correlation_id: correlationId, traceparent, batch_id: batchId } = batch.row
  const { request, operation, body, dialect } = prepared
  if (ended.aborted) {
    admitted.settled({ kind: 'unsent' })
    return Promise.resolve({ kind: 'withdrawn' })
  }
  const span = runner.tracing.start(`${operation} ${facts.group}`, {
    kind: SpanKind.CONSUMER,
    parent: traceparent,
    startTime: receivedAt,
    attributes: {
      'gen_ai.operation.name': operation,
      'gen_ai.request.model': request.model,
      'penstock.request_id': requestId,
      'penstock.correlation_id': correlationId,
      'penstock.batch_id': batchId,
    },
  })
  return new Promise((resolve) => {
    const finish = (answer: Answer) => {
      ended.removeEventListener('abort', withdraw)
      if (answer.kind !== 'answered') {
        const message = answer.kind === 'failed' ? answer.error.code : 'client_closed_request'
        span?.setStatus({ code: SpanStatusCode.ERROR, message })
      }
      span?.end()
      resolve(answer)
    }
    const withdraw = () => {
      cancel()
      admitted.settled({ kind: 'left' })
      finish({ kind: 'withdrawn' })
    }
    const sink = {
      onData: () => {},
      onQueued: () => {},
      onEnd(head: FrameHead | null, data: Uint8Array, end: FrameEnd) {
        // Where a reservation is settled by what the answer says, the head has to be known.
        if (head !== null) admitted.headers(head, end)
        admitted.settled({ kind: 'answered', end })
        finish({ kind: 'answered', requestId, head, data, end })
      },
      onError(error: ErrorInfo) {
        admitted.settled({ kind: 'failed', error })
        finish({ kind: 'failed', requestId, error })
      },
    }
    const cancel = runner.dispatcher.send(
      {
        id: requestId,
        correlationId,
        operation,
        dialect,
        stream: false,
        includeUsage: false,
        ...facts,
        allowedGroups: admitted.allowedGroups,
        answerLimit: admitted.answerLimit,
        receivedAt,
        timeoutMs,
      },
      body,
      sink,
      span === null ? traceparent : traceparentOf(span),
    )
    ended.addEventListener('abort', withdraw, { once: true })
  })
}

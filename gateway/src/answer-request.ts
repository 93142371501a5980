// An admitted request on its way: sent to the queue, its answer written as it comes, and told to the
// log, the metrics, the trace and admission exactly once, however it ends.
import type { Operation } from '@penstock/shared/contracts/request'
import {
  isTraceparent,
  SpanKind,
  SpanStatusCode,
  traceparentOf,
} from '@penstock/shared/telemetry/trace'
import type { Request, Response } from 'express'
import type { Admitted } from './admission/admission.ts'
import { answerTo } from './answer.ts'
import { chatForm, dialectForm } from './answer-form.ts'
import type { Dispatcher } from './dispatch.ts'
import type { Gateway } from './gateway.ts'
import { dialectFields, type ReadRequest } from './read-request.ts'
import type { RequestFacts } from './request-facts.ts'
import type { KnownFields } from './schemas.ts'

export interface Asked {
  id: string
  operation: Operation
  req: Request
  res: Response
  receivedAt: number
  timeoutMs: number
  request: KnownFields
  foreign: ReadRequest['foreign']
  body: Buffer
  facts: RequestFacts
}

/** @param by where it is sent: to the queue, or to what may know the answer already */
export function answerRequest(
  gateway: Gateway,
  asked: Asked,
  admitted: Admitted,
  by: Pick<Dispatcher, 'send'>,
): void {
  const { id, operation, req, res, receivedAt, timeoutMs, request, foreign, body, facts } = asked
  const { group } = facts
  const { correlationId } = res.locals
  // Nothing else is streamed, whatever the client asks.
  const stream = request.stream === true && (operation === 'chat' || operation === 'completion')
  const span = gateway.tracing.start(`${operation} ${group}`, {
    kind: SpanKind.SERVER,
    parent: incomingTrace(req),
    startTime: receivedAt,
    attributes: {
      'gen_ai.operation.name': operation,
      'gen_ai.request.model': request.model,
      'penstock.request_id': id,
      'penstock.correlation_id': correlationId,
    },
  })
  res.setHeader('x-penstock-request-id', id)

  let finished = false
  let cancel = () => {}
  const sink = answerTo(res, {
    stream,
    receivedAt,
    form: foreign === null ? chatForm : dialectForm(foreign.dialect, foreign.fields, correlationId),
    cancel: () => cancel(),
    headers: (head, end) => admitted.headers(head, end),
    onFirstBytes() {
      const seconds = (Date.now() - receivedAt) / 1000
      if (stream) gateway.metrics.firstToken({ operation, group, outcome: 'ok' }, seconds)
    },
    onFinish(status, error, end) {
      if (finished) return
      finished = true
      if (error !== null) admitted.settled({ kind: 'failed', error })
      else if (end !== null) admitted.settled({ kind: 'answered', end })
      const ms = Date.now() - receivedAt
      const outcome = error === null ? 'ok' : error.code
      gateway.metrics.answered({ operation, group, outcome }, ms / 1000)
      const line = { requestId: id, correlationId, group, operation, stream, status, ms }
      if (error === null) gateway.log.info(line, 'request answered')
      else gateway.log.info({ ...line, code: error.code }, 'request failed')
      if (span === null) return
      span.setAttribute('http.response.status_code', status)
      if (error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: error.code })
      span.end()
    },
  })
  cancel = by.send(
    {
      id,
      correlationId,
      operation,
      ...(foreign === null ? {} : dialectFields(foreign.dialect, req)),
      stream,
      includeUsage: request.stream_options?.include_usage === true,
      ...facts,
      allowedGroups: admitted.allowedGroups,
      answerLimit: admitted.answerLimit,
      receivedAt,
      timeoutMs,
    },
    body,
    sink,
    span === null ? incomingTrace(req) : traceparentOf(span),
  )
  res.on('close', () => {
    if (finished) return
    cancel()
    finished = true
    admitted.settled({ kind: 'left' })
    const ms = Date.now() - receivedAt
    const line = { requestId: id, correlationId, group, operation, stream, status: 499, ms }
    const outcome = 'client_closed_request'
    gateway.metrics.answered({ operation, group, outcome }, ms / 1000)
    gateway.log.info(line, 'client left')
    span?.setStatus({ code: SpanStatusCode.ERROR, message: 'client_closed_request' }).end()
  })
}

function incomingTrace(req: Request): string | null {
  const { traceparent } = req.headers
  return typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : null
}

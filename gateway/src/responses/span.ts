// The gateway's span of a background response's request: its client is long answered when it ends.
import { SpanKind, SpanStatusCode, traceparentOf } from '@penstock/shared/telemetry/trace'
import type { Gateway } from '../gateway.ts'
import type { BackgroundJob } from './background-job.ts'

interface RequestSpan {
  traceparent: string | null
  /** @param code of the error; null: answered */
  end(code: string | null): void
}

export function startSpan(
  gateway: Pick<Gateway, 'tracing'>,
  { id, envelope, traceparent }: BackgroundJob,
  requestId: string,
): RequestSpan {
  const { operation, group, requestedModel, correlationId } = envelope
  const span = gateway.tracing.start(`${operation} ${group}`, {
    kind: SpanKind.SERVER,
    parent: traceparent,
    attributes: {
      'gen_ai.operation.name': operation,
      'gen_ai.request.model': requestedModel,
      'gen_ai.response.id': id,
      'penstock.request_id': requestId,
      'penstock.correlation_id': correlationId,
    },
  })
  return {
    traceparent: span === null ? traceparent : traceparentOf(span),
    end(code) {
      if (code !== null) span?.setStatus({ code: SpanStatusCode.ERROR, message: code })
      span?.end()
    },
  }
}

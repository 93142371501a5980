// What is said about stored usage: a log line and, where the request is traced, a span per event.

import { dollarText } from '@penstock/shared/pricing/money'
import type { Logger } from '@penstock/shared/telemetry/log'
import { SpanKind, type Tracing } from '@penstock/shared/telemetry/trace'
import type { RecordedUsage } from './record-usage.ts'
import type { Stored } from './store-usage.ts'

/** @param startedAt when storing began, epoch milliseconds. */
export function reportUsage(
  log: Logger,
  tracing: Tracing,
  { entries, duplicates, rejects }: Stored,
  startedAt: number,
): void {
  for (const entry of entries) {
    logEntry(log, entry)
    traceEntry(tracing, entry, startedAt)
  }
  if (duplicates > 0) log.debug({ duplicates }, 'usage had been recorded before')
  for (const { reason, payload } of rejects) {
    log.error({ reason, bytes: payload.length }, 'set a message aside that is no usage')
  }
}

function logEntry(log: Logger, { event, priced }: RecordedUsage): void {
  log.info(
    {
      requestId: event.requestId,
      correlationId: event.correlationId,
      attempt: event.attempt,
      status: event.status,
      group: event.group,
      model: event.model,
      promptTokens: event.usage.promptTokens,
      completionTokens: event.usage.completionTokens,
      estimated: event.usage.estimated,
      costUsd: dollarText(priced.amount),
      priceSource: priced.source,
    },
    'usage recorded',
  )
}

function traceEntry(tracing: Tracing, { event, priced }: RecordedUsage, startedAt: number): void {
  if (event.traceparent === null) return
  const span = tracing.start('record usage', {
    kind: SpanKind.CONSUMER,
    parent: event.traceparent,
    startTime: startedAt,
    attributes: {
      'gen_ai.request.model': event.model,
      'gen_ai.usage.input_tokens': event.usage.promptTokens,
      'gen_ai.usage.output_tokens': event.usage.completionTokens,
      'penstock.request_id': event.requestId,
      'penstock.correlation_id': event.correlationId,
      'penstock.attempt': event.attempt,
      'penstock.cost.usd': dollarText(priced.amount),
      'penstock.cost.source': priced.source,
    },
  })
  span?.end()
}

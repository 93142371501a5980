// A cached answer's row in the books: it took nothing and cost nothing, and its tag says why.
import type { Bus } from '@penstock/shared/bus/connect'
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { FrameHead } from '@penstock/shared/bus/frame-codec'
import { channels } from '@penstock/shared/contracts/channels'
import { noUsage, type UsageEvent, usageEvent } from '@penstock/shared/contracts/usage'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { NewRequest } from '../offer.ts'

/** Found under GET /spend/tags. */
export const hitTag = 'cache-hit'

export interface HitUsageOptions {
  bus: Pick<Bus, 'publisher'>
  fleet: Pick<FleetView, 'deployments'>
  log: Logger
}

/**
 * @param head of the answer when it was made
 * Where it cannot be told, only a row of nothing is missing.
 */
export function recordHit(
  { bus, fleet, log }: HitUsageOptions,
  request: NewRequest,
  head: FrameHead,
): void {
  const info = fleet.deployments.get(head.deploymentId)
  const now = Date.now()
  const event: UsageEvent = {
    requestId: request.id,
    attempt: 1,
    correlationId: request.correlationId,
    status: 'success',
    error: null,
    operation: request.operation,
    stream: request.stream,
    requestedModel: request.requestedModel,
    group: head.group,
    deploymentId: head.deploymentId,
    provider: info?.provider ?? '',
    model: info?.model ?? '',
    apiBase: info?.apiBase ?? null,
    priceRef: null,
    prices: { inputCostPerToken: 0, outputCostPerToken: 0 },
    usage: noUsage,
    caller: request.caller,
    // First: of too many the last ones are cut.
    tags: [hitTag, ...request.tags],
    sessionId: request.sessionId,
    workerId: 'cache',
    receivedAt: request.receivedAt,
    startedAt: now,
    firstTokenAt: null,
    endedAt: now,
    traceparent: null,
    content: null,
  }
  const data = Buffer.from(JSON.stringify([usageEvent.parse(event)]))
  const msgId = `${request.id}:hit`
  bus.publisher.publish(channels.usage.subject(), data, { msgId }).catch((cause) => {
    const { id: requestId, correlationId } = request
    log.warn({ err: cause, requestId, correlationId }, 'a cached answer has no row in the log')
  })
}

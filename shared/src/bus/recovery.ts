// What to do about a job that was cut off: whoever gets it next (another worker, or a router where no
// worker is left) asks whether it is still wanted, books what was seen, and may send it back.
import { upstreamModelFor } from '../config/resolve-group.ts'
import { channels, partitionOf, type RequestState } from '../contracts/channels.ts'
import { type ErrorInfo, PenstockError, toErrorInfo } from '../contracts/errors.ts'
import type { DeploymentInfo } from '../contracts/fleet.ts'
import {
  type AttemptRecord,
  isBatchLine,
  type RequestEnvelope,
  requestEnvelope,
  type WorkEnvelope,
} from '../contracts/request.ts'
import { noUsage, type UsageEvent } from '../contracts/usage.ts'
import type { Bus } from './connect.ts'
import { encodeEnvelope } from './envelope-codec.ts'
import { ask } from './request-reply.ts'

const askStateMs = 2_000
/** A gateway that comes back from a broken connection has done so this long after us. */
const askPatienceMs = 3_000
const askPauseMs = 250
/** How long a message is offered to a queue that does not answer, in milliseconds. */
const givePatienceMs = 20_000
const givePauseMs = 250
const nothing = new Uint8Array(0)

/** By the global timer, which a test can drive. */
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/**
 * Asks the gateway that waits for the job. Telling it that the attempt broke off is part of the
 * question: a client whose stream had begun gets its error event now.
 * A gateway that does not answer for seconds is gone, and its clients with it. Seconds without a
 * connection say nothing of it. Whoever asks keeps the job from being redelivered meanwhile.
 */
export async function recoverJob(
  bus: Bus,
  work: Pick<WorkEnvelope, 'id' | 'gatewayId' | 'deadline'>,
): Promise<RequestState> {
  const subject = channels.requestState.subject(work.gatewayId)
  const askedAt = Date.now()
  for (;;) {
    try {
      return await ask(bus, channels.requestState, subject, { requestId: work.id }, askStateMs)
    } catch {
      const silentFor = Date.now() - Math.max(askedAt, bus.reconnectedAt ?? 0)
      const isSilent = bus.connected && silentFor >= askPatienceMs
      if (isSilent || Date.now() >= work.deadline) return { state: 'gone', tokensSeen: 0 }
      await sleep(askPauseMs)
    }
  }
}

interface Interrupted {
  attempt: number
  completionTokens: number
  workerId: string
}

/** The row of an attempt that could not write its own: the tokens are those the client has seen. */
export function interruptedUsage(
  work: WorkEnvelope,
  info: DeploymentInfo | undefined,
  { attempt, completionTokens, workerId }: Interrupted,
): UsageEvent {
  return {
    ...bookkeeping(work, info),
    attempt,
    status: 'interrupted',
    error: new PenstockError('interrupted', 'The worker was lost.').info,
    usage: {
      ...noUsage,
      promptTokens: completionTokens > 0 ? work.promptTokens : 0,
      completionTokens,
      ...(isBatchLine(work) ? { rate: 'batch' } : {}),
      estimated: true,
    },
    workerId,
    startedAt: work.routedAt,
    firstTokenAt: null,
    endedAt: Date.now(),
    traceparent: null,
    content: null,
  }
}

/** The part of a usage event that request and deployment determine. */
export function bookkeeping(work: WorkEnvelope, info: DeploymentInfo | undefined) {
  // A deployment of a wildcard group has a pattern for a name; no price list knows that one.
  const named = (model: string) => upstreamModelFor(model, work.servingGroup, work.servingModel)
  const priceRef = info?.priceRef ?? null
  return {
    requestId: work.id,
    correlationId: work.correlationId,
    operation: work.operation,
    stream: work.stream,
    requestedModel: work.requestedModel,
    group: work.servingGroup,
    deploymentId: work.deploymentId,
    provider: info?.provider ?? 'unknown',
    model: named(info?.model ?? work.servingModel),
    apiBase: info?.apiBase ?? null,
    priceRef: priceRef === null ? null : { ...priceRef, model: named(priceRef.model) },
    prices: info?.prices ?? null,
    caller: work.caller,
    tags: work.tags,
    sessionId: work.sessionId,
    receivedAt: work.receivedAt,
  }
}

/**
 * Back to the router: the same message with a line of history for each delivery that broke off.
 * @param body the body's bytes, where it travels inside the message
 */
export async function giveBack(
  bus: Bus,
  work: WorkEnvelope,
  body: Uint8Array,
  deliveries: number,
  error: ErrorInfo,
  traceparent: string | null,
): Promise<void> {
  const { deploymentId, servingGroup: group } = work
  const line: AttemptRecord = { deploymentId, group, error, at: Date.now() }
  const lost = new PenstockError('interrupted', 'The worker was lost.').info
  const earlier = Array.from({ length: deliveries - 1 }, () => ({ ...line, error: lost }))
  const history = [...work.history, ...earlier, line]
  const request: RequestEnvelope = requestEnvelope.parse({ ...work, waitsIn: group, history })
  const subject = channels.requests.subject(partitionOf(group))
  const message = encodeEnvelope(request, work.body.kind === 'claim' ? nothing : body)
  const options = {
    msgId: `${work.id}:${history.length}`,
    ...(traceparent === null ? {} : { headers: { traceparent } }),
  }
  const giveUpAt = Math.min(work.deadline, Date.now() + givePatienceMs)
  for (;;) {
    try {
      await bus.publisher.publish(subject, message, options)
      return
    } catch (cause) {
      // NATS may be restarting. The message id makes a second copy harmless.
      const again = toErrorInfo(cause).code === 'service_unavailable' && Date.now() < giveUpAt
      if (!again) throw cause
      await sleep(givePauseMs)
    }
  }
}

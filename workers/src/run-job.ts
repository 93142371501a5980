// One job from the queue to its end: call the provider, stream frames, store the usage, ack.
//
//   first delivery ──▶ run ──▶ answered: usage stored, end frame, ack
//                          ├─▶ failed before the first frame: usage stored, back to the router, ack
//                          ├─▶ failed after it: usage stored, error frame, ack
//                          └─▶ cancelled: usage stored, ack
//   redelivery ──▶ still runs somewhere: leave it alone, look again later
//              ──▶ ask the gateway ──▶ nobody waits, or it was streaming: a row `interrupted`, ack
//                                  └─▶ still waiting: a row `interrupted`, then run
import type { JsMsg } from '@nats-io/jetstream'
import type { AckLog } from '@penstock/shared/bus/ack-log'
import type { ClaimCheck } from '@penstock/shared/bus/claim-check'
import type { Bus } from '@penstock/shared/bus/connect'
import { decodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import type { FinishedFrames } from '@penstock/shared/bus/finished-frames'
import type { ServicesView } from '@penstock/shared/bus/heartbeat'
import { giveBack, interruptedUsage, recoverJob } from '@penstock/shared/bus/recovery'
import { upstreamModelFor } from '@penstock/shared/config/resolve-group'
import {
  type ErrorInfo,
  errorKinds,
  PenstockError,
  toErrorInfo,
} from '@penstock/shared/contracts/errors'
import { type WorkEnvelope, workEnvelope } from '@penstock/shared/contracts/request'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Tracing } from '@penstock/shared/telemetry/trace'
import { Attempt } from './attempt.ts'
import { startLimits } from './call-limits.ts'
import type { ProviderResult } from './providers/provider.ts'
import { runOperation } from './providers/run-operation.ts'
import { readBody } from './read-body.ts'
import type { ResolvedDeployment } from './resolved-deployment.ts'
import type { RunningJob, RunningJobs } from './running-jobs.ts'
import type { UsagePublisher } from './usage-publisher.ts'

export interface WorkerContext {
  workerId: string
  bus: Bus
  acks: AckLog
  claims: ClaimCheck
  usage: UsagePublisher
  running: RunningJobs
  finished: FinishedFrames
  services: ServicesView
  tracing: Tracing
  log: Logger
  /** Time to the first chunk for deployments that set none, in milliseconds. */
  streamTimeoutMs: number | null
}

/** A job that kills every worker it meets goes back to the router after this many deliveries. */
const maxDeliveries = 3
/** How long until a redelivered job that still runs elsewhere is looked at again. */
const lookAgainMs = 5_000

/** For a gateway that seems dead but was only cut off: its client waits. Harmless to all others. */
const dropped = new PenstockError('interrupted', 'The gateway was cut off from its workers.').info

interface Job {
  msg: JsMsg
  work: WorkEnvelope
  /** The body's bytes, where it travels inside the message. */
  inline: Uint8Array
  deliveries: number
  /** Redelivered; or from before a reconnect, when NATS may have forgotten a delivery or an ack. */
  mayHaveRun: boolean
  traceparent: string | null
}

/** Never throws: whatever happens, the message is acked, or left to be redelivered. */
export async function runJob(
  ctx: WorkerContext,
  target: ResolvedDeployment,
  msg: JsMsg,
): Promise<void> {
  const job = read(ctx, msg)
  if (job === null) return
  const { work } = job
  const running: RunningJob = {
    requestId: work.id,
    deploymentId: work.deploymentId,
    hop: work.history.length,
    gatewayId: work.gatewayId,
    abort: new AbortController(),
    working: () => msg.working(),
    outcome: null,
    isReleased: false,
  }
  if (job.mayHaveRun && (await ctx.running.runsSomewhere(work.id))) {
    msg.nak(lookAgainMs)
    return
  }
  const ended = ctx.running.add(running)
  try {
    await run(ctx, target, job, running)
  } catch (cause) {
    const { id: requestId, correlationId } = work
    ctx.log.error({ err: cause, requestId, correlationId }, 'a job broke off, to be redelivered')
    msg.nak(1_000)
  } finally {
    ended()
  }
}

function read(ctx: WorkerContext, msg: JsMsg): Job | null {
  try {
    const { envelope: work, body: inline } = decodeEnvelope(workEnvelope, msg.data)
    const traceparent = msg.headers?.get('traceparent') || null
    const deliveries = msg.info.deliveryCount
    const mayHaveRun = deliveries > 1 || work.mayHaveRun || ctx.bus.isFromBeforeReconnect(msg)
    return { msg, work, inline, deliveries, mayHaveRun, traceparent }
  } catch (cause) {
    ctx.log.error({ err: cause }, 'dropped a job that does not parse')
    msg.term()
    return null
  }
}

async function run(
  ctx: WorkerContext,
  target: ResolvedDeployment,
  job: Job,
  running: RunningJob,
): Promise<void> {
  const { msg, work, inline, deliveries, traceparent } = job
  const attempt = new Attempt(ctx, target, work, work.history.length + deliveries, traceparent)
  if (job.mayHaveRun && !(await resume(ctx, target, job, attempt))) {
    ctx.acks.ack(msg)
    return
  }
  const unwanted = whyUnwanted(ctx, work)
  if (unwanted !== null) {
    attempt.frames.error(unwanted)
    ctx.acks.ack(msg)
    return
  }
  attempt.begin()
  try {
    const { signal } = running.abort
    const body = work.body.kind === 'claim' ? await ctx.claims.get(work.body.claim, signal) : inline
    const result = await call(ctx, target, work, body, attempt, running.abort)
    running.outcome = await attempt.succeed(result)
  } catch (cause) {
    const error = errorOf(cause, running.abort.signal)
    if (errorKinds[error.code].status === 500) {
      const { id: requestId, correlationId } = work
      const message = 'a provider failed in an unforeseen way'
      ctx.log.error({ err: cause, requestId, correlationId }, message)
    }
    running.outcome = await attempt.fail(error)
    const isDropped = error.code === 'client_closed_request'
    const handled = attempt.frames.begun || isDropped
    if (isDropped) attempt.frames.error(dropped)
    if (!handled) {
      // The router is to know the outcome before it decides on the request again.
      ctx.running.release(running)
      await giveBack(ctx.bus, work, inline, deliveries, error, traceparent)
    }
  }
  ctx.acks.ack(msg)
}

/** @returns whether the redelivered job is to run again here */
async function resume(
  ctx: WorkerContext,
  target: ResolvedDeployment,
  job: Job,
  attempt: Attempt,
): Promise<boolean> {
  const { work, inline, deliveries, traceparent } = job
  const { state, tokensSeen } = await recoverJob(ctx.bus, work)
  if (deliveries > 1 || state === 'streaming') {
    await ctx.usage.publish(
      interruptedUsage(work, target.info, {
        attempt: work.history.length + Math.max(1, deliveries - 1),
        completionTokens: tokensSeen,
        workerId: ctx.workerId,
      }),
    )
  }
  if (state === 'gone') attempt.frames.error(dropped)
  if (state !== 'waiting') return false
  if (deliveries <= maxDeliveries) return true
  const message = `The worker was lost ${deliveries - 1} times while it ran this request.`
  const error = new PenstockError('interrupted', message).info
  await giveBack(ctx.bus, work, inline, deliveries, error, traceparent)
  return false
}

/** The client left, its gateway died or its time is over: no upstream call is made. */
function whyUnwanted(ctx: WorkerContext, work: WorkEnvelope): ErrorInfo | null {
  if (work.deadline <= Date.now()) {
    return new PenstockError('deadline_exceeded', 'The request was not answered in time.').info
  }
  const isDropped =
    ctx.running.wasCancelled(work.id) || ctx.services.isLost('gateway', work.gatewayId)
  return isDropped ? dropped : null
}

async function call(
  ctx: WorkerContext,
  { deployment, entry, model }: ResolvedDeployment,
  work: WorkEnvelope,
  bytes: Uint8Array,
  attempt: Attempt,
  abort: AbortController,
): Promise<ProviderResult> {
  const { body, native, file, written } = readBody(work, bytes, { deployment, entry })
  attempt.read(body, written ?? bytes, native?.dialect ?? null)
  const limits = startLimits(abort, {
    stream: work.stream,
    timeoutMs: deployment.timeoutMs,
    streamTimeoutMs: deployment.streamTimeoutMs ?? ctx.streamTimeoutMs,
    deadline: work.deadline,
  })
  try {
    return await runOperation(entry.provider, work.operation, {
      body,
      ...(native === null ? {} : { native }),
      ...(file === undefined ? {} : { file }),
      stream: work.stream,
      includeUsage: work.includeUsage,
      deployment,
      model: upstreamModelFor(model, deployment.group, work.servingModel),
      signal: abort.signal,
      emit(events) {
        limits.chunk()
        attempt.emit(events)
      },
    })
  } finally {
    limits.stop()
  }
}

/** A provider may wrap what the signal threw: the signal's own reason says what happened. */
function errorOf(cause: unknown, signal: AbortSignal): ErrorInfo {
  return signal.aborted ? toErrorInfo(signal.reason) : toErrorInfo(cause)
}

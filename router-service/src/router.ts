// Takes requests from the queue, asks `decide` where each is to wait, and hands over what the
// scheduler assigns. A message stays unacked in REQUESTS until it stands in WORK (or in another part
// of REQUESTS, or was refused), so a crash of this process loses none.
//
//   REQUESTS ──▶ receive ──▶ decide ──▶ scheduler ──▶ assign ──▶ WORK.<deployment>, then ack
//                               ├──▶ a fallback in another part: REQUESTS again, then ack
//                               ├──▶ a pause before the retry, then the scheduler
//                               └──▶ fail: one error frame, then ack
import type { JsMsg } from '@nats-io/jetstream'
import type { AckLog } from '@penstock/shared/bus/ack-log'
import type { Bus } from '@penstock/shared/bus/connect'
import { encodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import type { FinishedFrames } from '@penstock/shared/bus/finished-frames'
import { encodeFrame, frameKinds } from '@penstock/shared/bus/frame-codec'
import { channels, partitionOf } from '@penstock/shared/contracts/channels'
import { type ErrorInfo, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { RequestEnvelope } from '@penstock/shared/contracts/request'
import { createRecent } from '@penstock/shared/recent'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Tracing } from '@penstock/shared/telemetry/trace'
import { type Decision, decide, type FleetState, type Policy } from './decide.ts'
import { handOver } from './hand-over.ts'
import { type Held, heldFrom } from './held.ts'
import { laneOf } from './requirement.ts'
import type { Scheduler } from './scheduler.ts'
import type { Slots } from './slots.ts'

export interface RouterParts {
  bus: Bus
  acks: AckLog
  finished: FinishedFrames
  slots: Slots
  fleet: FleetState
  policy: () => Policy
  /** A function, because the scheduler in turn calls this router. */
  scheduler: () => Scheduler
  tracing: Tracing
  log: Logger
}

export interface Router {
  receive(partition: number, msg: JsMsg): void
  assign(held: Held, deployment: DeploymentInfo, reasons: string[]): void
  fail(held: Held, error: ErrorInfo): void
  /** The client left: drop it if it waits here. */
  cancel(requestId: string): void
  /** A part of the queue is another router's now. */
  forgetPartition(partition: number): void
  /** The fleet or a breaker changed: what waits may have somewhere better to go. */
  reconsider(group: string): void
  readonly held: ReadonlyMap<string, Held>
  /** Those of them that wait for the end of a pause before their retry. */
  readonly paused: ReadonlySet<Held>
}

/** Cancelled ids are remembered for messages that are still on their way; bounded. */
const maxCancelled = 10_000
/** Handed-over ids are remembered for copies of their messages that come back; bounded. */
const maxRouted = 50_000
const handOverPauseMs = 500

export function createRouter(parts: RouterParts): Router {
  const { bus, acks, finished, slots, log } = parts
  const held = new Map<string, Held>()
  const handing = new Set<Held>()
  const paused = new Set<Held>()
  const cancelled = createRecent<true>(maxCancelled)
  /** By request: the length of the history with which it was last handed over. */
  const routed = createRecent<number>(maxRouted)

  function receive(partition: number, msg: JsMsg): void {
    const one = heldFrom(partition, msg, bus, log)
    if (one === null) return
    const { id, history } = one.request
    const before = held.get(id)
    const hopBefore = before?.request.history.length ?? -1
    if (before !== undefined && hopBefore === history.length) {
      // A second copy of what waits here already: keep its place, answer for the newer message.
      before.msg = msg
      before.partition = partition
      before.isLost = false
    } else if (
      hopBefore > history.length ||
      cancelled.delete(id) ||
      wasRouted(id, history.length)
    ) {
      // Given up, or handed over by this router or its predecessor, whose ack was lost.
      acks.ack(msg)
    } else {
      // Its hand-over counted as failed, and was none: it must not run beside its successor.
      if (before !== undefined && !handing.has(before)) drop(before)
      held.set(id, one)
      route(one)
    }
  }

  /** It waits here no longer, and is done with. */
  function drop(one: Held): void {
    parts.scheduler().remove(one)
    held.delete(one.request.id)
    paused.delete(one)
    acks.ack(one.msg)
  }

  const route = (one: Held) => act(one, decide(one.request, parts.fleet, parts.policy()))

  function wasRouted(id: string, hop: number): boolean {
    return (routed.get(id) ?? -1) >= hop || slots.holds(id, hop)
  }

  function act(one: Held, decision: Decision): void {
    one.reasons = decision.reasons
    if (decision.kind === 'fail') {
      fail(one, decision.error)
    } else if (partitionOf(decision.group) !== one.partition) {
      moveOn(one, decision.group)
    } else {
      one.group = decision.group
      one.requirement = decision.requirement
      one.lane = laneOf(decision.requirement)
      const pauseMs = (decision.notBefore ?? 0) - Date.now()
      if (pauseMs <= 0) enqueue(one)
      // By then the fleet may be another one, and nobody asks about those who pause.
      else later(one, pauseMs, () => route(one))
    }
  }

  function enqueue(one: Held): void {
    try {
      parts.scheduler().enqueue(one)
    } catch (cause) {
      fail(one, toErrorInfo(cause))
    }
  }

  function later(one: Held, ms: number, then: () => void): void {
    paused.add(one)
    const timer = setTimeout(
      () => {
        // Whoever is not paused any more was cancelled, has failed or is another router's.
        if (paused.delete(one) && held.get(one.request.id) === one) then()
      },
      Math.max(0, ms),
    )
    timer.unref()
  }

  /** Its hand-over counted as failed; a worker may have said meanwhile that it runs. */
  function again(one: Held): void {
    const { id, history } = one.request
    if (slots.holds(id, history.length)) {
      routed.set(id, history.length)
      drop(one)
    } else route(one)
  }

  /** The group it goes to belongs to another part of the queue, perhaps another router's. */
  function moveOn(one: Held, group: string): void {
    const request: RequestEnvelope = { ...one.request, waitsIn: group }
    const { id, correlationId, history } = request
    const options = {
      // The copy it stands for is part of the id: it may come to the same group a second time.
      msgId: `${id}:${history.length}:${group}:${one.msg.seq}`,
      ...(one.traceparent === null ? {} : { headers: { traceparent: one.traceparent } }),
    }
    const subject = channels.requests.subject(partitionOf(group))
    held.delete(id)
    bus.publisher.publish(subject, encodeEnvelope(request, one.body), options).then(
      () => acks.ack(one.msg),
      (cause) => {
        // Back already: only the confirmation was lost.
        if (held.has(id)) return acks.ack(one.msg)
        held.set(id, one)
        const { code } = toErrorInfo(cause)
        log.warn({ requestId: id, correlationId, code }, 'a fallback could not be queued')
        later(one, handOverPauseMs, () => moveOn(one, group))
      },
    )
  }

  function fail(one: Held, error: ErrorInfo): void {
    const { id: requestId, correlationId, group } = one.request
    held.delete(requestId)
    paused.delete(one)
    const frame = encodeFrame(frameKinds.error, 0, 0, error)
    bus.outbox.publish(one.request.replyTo, frame)
    finished.note(one.request.replyTo, frame)
    acks.ack(one.msg)
    log.info(
      { requestId, correlationId, group, code: error.code, reasons: one.reasons },
      'request failed',
    )
  }

  return {
    receive,
    fail,
    held,
    paused,
    assign(one, deployment, reasons) {
      const { id: requestId, correlationId } = one.request
      handing.add(one)
      handOver(parts, one, deployment, reasons).then(
        () => {
          handing.delete(one)
          routed.set(requestId, one.request.history.length)
          // A job that fails at once is back before its hand-over is confirmed: that one stays.
          if (held.get(requestId) === one) held.delete(requestId)
          acks.ack(one.msg)
        },
        (cause) => {
          handing.delete(one)
          // Nothing is lost: it waits again, here or where its part of the queue is now.
          log.warn({ requestId, correlationId, code: toErrorInfo(cause).code }, 'hand-over failed')
          parts.scheduler().takeBack(one, deployment.id)
          const now = held.get(requestId)
          // Back already: only the confirmation was lost.
          if (now !== undefined && now !== one) acks.ack(one.msg)
          else if (one.isLost) held.delete(requestId)
          else later(one, handOverPauseMs, () => again(one))
        },
      )
    },
    cancel(requestId) {
      const one = held.get(requestId)
      if (one === undefined) {
        cancelled.set(requestId, true)
        return
      }
      drop(one)
    },
    forgetPartition(partition) {
      for (const one of [...held.values()]) {
        if (one.partition !== partition) continue
        one.isLost = true
        // It may stand in WORK already: a copy that comes back now must not be routed beside it.
        if (handing.has(one)) continue
        parts.scheduler().remove(one)
        held.delete(one.request.id)
        paused.delete(one)
      }
    },
    reconsider(group) {
      for (const one of [...held.values()]) {
        if (one.group === group && parts.scheduler().remove(one)) route(one)
      }
    },
  }
}

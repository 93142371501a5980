// Sends a request into the queue and brings its frames back: listens first, then publishes. Every
// request ends here in exactly one way: onEnd, or onError (before its deadline), or cancel.
import { broadcast } from '@penstock/shared/bus/broadcast'
import type { ClaimCheck } from '@penstock/shared/bus/claim-check'
import type { Bus } from '@penstock/shared/bus/connect'
import {
  decodeFrame,
  type Frame,
  type FrameEnd,
  type FrameHead,
  frameEnd,
  frameError,
  frameHead,
  frameKinds,
  queuedMeta,
} from '@penstock/shared/bus/frame-codec'
import { answer } from '@penstock/shared/bus/request-reply'
import { ChurnMap } from '@penstock/shared/churn-map'
import { channels, type RequestState } from '@penstock/shared/contracts/channels'
import { type ErrorInfo, PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { countDeltas } from '@penstock/shared/sse-text'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { z } from 'zod'
import type { AnswerSink } from './answer.ts'
import { watchLostRequests } from './lost-requests.ts'
import { createOffer, type NewRequest, type Offered } from './offer.ts'
import { createQueueHealth } from './queue-health.ts'
import { createWithdrawals } from './withdrawals.ts'

export interface Dispatcher {
  readonly waiting: number
  /** Why a request sent now would not be queued. */
  problems(): string[]
  /** @returns cancel: the client left; the request is withdrawn wherever it is. */
  send(
    request: NewRequest,
    body: Uint8Array,
    sink: AnswerSink,
    traceparent: string | null,
  ): () => void
  close(): void
}

interface Pending extends Offered {
  id: string
  correlationId: string
  stream: boolean
  sink: AnswerSink
  attempt: number
  nextSequence: number
  /** Bytes went to the client: from now on no other attempt may take over. */
  streaming: boolean
  /** A plain answer larger than a message, as it arrives; a stream's bytes, for `requestState`. */
  parts: Uint8Array[]
  partBytes: number
  /** All bytes of a stream, kept or not. */
  seenBytes: number
  head: FrameHead | null
  timer: NodeJS.Timeout
}

/** Most bytes of a plain answer, and of a stream kept to tell what was seen of it. */
const maxAnswerBytes = 64 * 1024 * 1024
const maxSeenBytes = 256 * 1024

export function createDispatcher(
  bus: Bus,
  claims: ClaimCheck,
  gatewayId: string,
  log: Logger,
): Dispatcher {
  const pending = new ChurnMap<number, Pending>()
  const numbers = new Map<string, number>()
  const withdraw = createWithdrawals(bus)
  const health = createQueueHealth()
  let counter = 0

  // What came while the connection was away is gone; its senders have the last frames still.
  bus.onReconnect(() => broadcast(bus, channels.resend, { gatewayId }))

  const frames = bus.nc.subscribe(channels.frames.subject(gatewayId, '*'), {
    callback: (error, msg) => {
      if (error !== null) return
      const entry = pending.get(Number(msg.subject.slice(msg.subject.lastIndexOf('.') + 1)))
      if (entry === undefined) return
      try {
        onFrame(entry, decodeFrame(msg.data))
      } catch (cause) {
        const { id: requestId, correlationId } = entry
        log.error({ err: cause, requestId, correlationId }, 'a frame could not be handled')
        // Its answer would go on, and be paid for, with nobody there to read it.
        if (pending.has(entry.number)) withdraw(entry.id)
        fail(entry, toErrorInfo(cause))
      }
    },
  })

  const states = answer(
    bus,
    channels.requestState,
    channels.requestState.subject(gatewayId),
    ({ requestId }): RequestState => {
      const entry = pending.get(numbers.get(requestId) ?? -1)
      if (entry === undefined) return { state: 'gone', tokensSeen: 0 }
      if (!entry.streaming) return { state: 'waiting', tokensSeen: 0 }
      // The attempt that was streaming has died: its client learns that now.
      const kept = countDeltas(entry.parts, entry.head?.dialect)
      const tokensSeen = Math.round((kept * entry.seenBytes) / Math.max(1, entry.partBytes))
      const message = 'The worker was lost while it was answering; the answer is incomplete.'
      fail(entry, new PenstockError('interrupted', message).info)
      return { state: 'streaming', tokensSeen }
    },
  )

  function onFrame(entry: Pending, frame: Frame): void {
    if (frame.kind === frameKinds.queued) {
      const { position } = parseMeta(queuedMeta, frame)
      if (!entry.streaming) entry.sink.onQueued(position)
      return
    }
    if (frame.attempt !== entry.attempt) {
      // A later attempt could not take over; it may say, though, that the answer will not go on.
      const isLast = frame.kind === frameKinds.error && frame.attempt > entry.attempt
      if (entry.streaming && !isLast) return
      entry.attempt = frame.attempt
      entry.nextSequence = 0
      entry.parts = []
      entry.partBytes = 0
    }
    if (frame.sequence < entry.nextSequence) return
    if (frame.sequence > entry.nextSequence) {
      const message = 'Part of the answer was lost on the way; the answer is incomplete.'
      fail(entry, new PenstockError('interrupted', message).info)
      withdraw(entry.id)
      return
    }
    entry.nextSequence++
    if (frame.kind === frameKinds.error) {
      fail(entry, parseMeta(frameError, frame))
      return
    }
    if (frame.kind === frameKinds.end) {
      onLastFrame(entry, frame, parseMeta(frameEnd, frame))
      return
    }
    const head = frame.meta.length === 0 ? null : parseMeta(frameHead, frame)
    if (entry.stream) onStreamFrame(entry, frame, head)
    else onPlainFrame(entry, frame, head)
  }

  function onLastFrame(entry: Pending, frame: Frame, end: FrameEnd): void {
    const isWhole = entry.stream || entry.parts.length === 0
    forget(entry)
    const data = isWhole ? frame.data : Buffer.concat([...entry.parts, frame.data])
    entry.sink.onEnd(end.head ?? entry.head, data, end)
  }

  function onStreamFrame(entry: Pending, frame: Frame, head: FrameHead | null): void {
    entry.streaming = true
    entry.head = head ?? entry.head
    entry.seenBytes += frame.data.length
    if (entry.partBytes < maxSeenBytes) {
      entry.parts.push(frame.data)
      entry.partBytes += frame.data.length
    }
    entry.sink.onData(head, frame.data)
  }

  function onPlainFrame(entry: Pending, frame: Frame, head: FrameHead | null): void {
    entry.head = head ?? entry.head
    entry.parts.push(frame.data)
    entry.partBytes += frame.data.length
    if (entry.partBytes > maxAnswerBytes) {
      const message = `The answer is larger than ${maxAnswerBytes} bytes.`
      fail(entry, new PenstockError('upstream_invalid_response', message).info)
      withdraw(entry.id)
    }
  }

  function fail(entry: Pending, error: ErrorInfo): void {
    if (forget(entry)) entry.sink.onError(error)
  }

  function forget(entry: Pending): boolean {
    if (!pending.delete(entry.number)) return false
    numbers.delete(entry.id)
    clearTimeout(entry.timer)
    if (entry.claim !== null) void claims.remove(entry.claim)
    return true
  }

  const isWanted = ({ number }: Offered) => pending.has(number)
  const offer = createOffer({ bus, claims, gatewayId, health, isWanted })
  const forgetStore = watchLostRequests(bus, () => pending.values(), fail)

  return {
    get waiting() {
      return pending.size
    },
    problems: health.problems,
    send(request, body, sink, traceparent) {
      const number = counter++
      const deadline = () => {
        const entry = pending.get(number)
        if (entry === undefined) return
        const message = `The request was not answered within ${request.timeoutMs / 1000} s.`
        fail(entry, new PenstockError('deadline_exceeded', message).info)
        withdraw(request.id)
      }
      const entry: Pending = {
        id: request.id,
        correlationId: request.correlationId,
        number,
        stream: request.stream,
        sink,
        attempt: -1,
        nextSequence: 0,
        queuedAt: null,
        streaming: false,
        parts: [],
        partBytes: 0,
        seenBytes: 0,
        head: null,
        claim: null,
        timer: setTimeout(deadline, request.receivedAt + request.timeoutMs - Date.now()),
      }
      pending.set(number, entry)
      numbers.set(request.id, number)
      offer(entry, request, body, traceparent).catch((cause) => {
        // No ack does not mean that nothing was queued: make sure that nobody works for nobody.
        if (pending.has(number)) withdraw(request.id)
        fail(entry, toErrorInfo(cause))
      })
      return () => {
        if (forget(entry)) withdraw(request.id)
      }
    },
    close() {
      forgetStore()
      frames.unsubscribe()
      states.unsubscribe()
      const message = 'The gateway is shutting down.'
      for (const entry of [...pending.values()]) {
        fail(entry, new PenstockError('service_unavailable', message).info)
        withdraw(entry.id)
      }
    },
  }
}

function parseMeta<S extends z.ZodType>(schema: S, { meta }: Frame): z.output<S> {
  return schema.parse(JSON.parse(Buffer.from(meta).toString('utf8')))
}

// Writes an answer to the client: headers go out with the first bytes, so that whatever fails before
// them keeps its HTTP status; what fails after them ends the stream with an explicit error event.
import type { ServerResponse } from 'node:http'
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorInfo, PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { type AnswerForm, chatErrors, chatForm, type ErrorForm } from './answer-form.ts'
import { finishResponse } from './finish-response.ts'

/** A client that reads slower than the model writes is let go beyond this, in bytes. */
const maxUnreadBytes = 8 * 1024 * 1024

/** Where an answer goes. `head` comes with the first bytes; a plain answer has one onEnd alone. */
export interface AnswerSink {
  onData(head: FrameHead | null, data: Uint8Array): void
  /** @param end what the answer took */
  onEnd(head: FrameHead | null, data: Uint8Array, end: FrameEnd): void
  onError(error: ErrorInfo): void
  /** Still waiting for a slot, at this position. */
  onQueued(position: number): void
}

export interface AnswerOptions {
  stream: boolean
  receivedAt: number
  /** OpenAI's by default. */
  form?: AnswerForm
  /** More headers: names without prefix, values. `end` where the answer is complete already. */
  headers(head: FrameHead, end: FrameEnd | null): [string, string][]
  /** Called when the first bytes of the answer go out. */
  onFirstBytes(): void
  /** Called once, when the answer has ended one way or another; `end` where it is complete. */
  onFinish(status: number, error: ErrorInfo | null, end: FrameEnd | null): void
  /** The client cannot be served any longer: withdraw the request. */
  cancel(): void
}

export function answerTo(res: ServerResponse, options: AnswerOptions): AnswerSink {
  const { form = chatForm, stream } = options
  const open = (head: FrameHead | null, contentType: string, end: FrameEnd | null = null) => {
    if (head !== null) setHeadHeaders(res, head, options.receivedAt, options.headers(head, end))
    res.setHeader('content-type', contentType)
    if (stream) {
      res.setHeader('cache-control', 'no-cache')
      // Tells nginx and its kin not to hold tokens back.
      res.setHeader('x-accel-buffering', 'no')
    }
  }
  const endStream = (head: FrameHead | null, data: Uint8Array, end: FrameEnd) => {
    const parts = form.end(head, data, end)
    const last = parts.pop()
    if (!res.headersSent) open(head, form.streamType)
    for (const part of parts) if (part.length > 0) res.write(part)
    finishResponse(res, last)
  }
  const endWhole = (head: FrameHead | null, data: Uint8Array, end: FrameEnd) => {
    const bytes = form.whole(head, data, end)
    open(head, head?.contentType ?? 'application/json', end)
    res.setHeader('content-length', bytes.length)
    finishResponse(res, bytes)
  }
  const fail = (error: ErrorInfo) => {
    writeError(res, error, form.error)
    options.onFinish(error.status, error, null)
  }
  return {
    onQueued(position) {
      if (res.writableEnded || res.destroyed) return
      const comment = form.queued(position)
      if (comment === null) return
      if (!res.headersSent) open(null, form.streamType)
      res.write(comment)
    },
    onData(head, data) {
      // The head comes with the first bytes alone.
      if (head !== null) options.onFirstBytes()
      const bytes = form.data(head, data)
      if (!res.headersSent) open(head, form.streamType)
      if (bytes !== null && bytes.length > 0) res.write(bytes)
      if (res.writableLength <= maxUnreadBytes) return
      const message = 'The client reads too slowly; the stream was ended.'
      options.cancel()
      options.onFinish(200, new PenstockError('client_closed_request', message).info, null)
      res.destroy()
    },
    onEnd(head, data, end) {
      try {
        if (stream) endStream(head, data, end)
        else endWhole(head, data, end)
      } catch (cause) {
        // Nobody else would tell the client: to the dispatcher the request has ended.
        fail(toErrorInfo(cause))
        return
      }
      options.onFinish(200, null, end)
    },
    onError: fail,
  }
}

/** The error as the client's dialect has it; on a stream that has begun, as its last event. */
export function writeError(
  res: ServerResponse,
  error: ErrorInfo,
  form: ErrorForm = chatErrors,
): void {
  if (res.writableEnded || res.destroyed) return
  if (res.headersSent) {
    finishResponse(res, form.event(error))
    return
  }
  const body = JSON.stringify(form.body(error))
  res.statusCode = error.status
  if (error.retryAfterMs !== null) {
    res.setHeader('retry-after', Math.max(1, Math.ceil(error.retryAfterMs / 1000)))
  }
  res.setHeader('content-type', 'application/json')
  res.setHeader('content-length', Buffer.byteLength(body))
  finishResponse(res, body)
}

/** Ours and LiteLLM's names for the same facts, so that existing dashboards keep working. */
function setHeadHeaders(
  res: ServerResponse,
  head: FrameHead,
  receivedAt: number,
  more: [string, string][],
): void {
  const overhead = String(Math.max(0, Math.round(Date.now() - receivedAt - head.upstreamMs)))
  const facts: [string, string][] = [
    ['model-id', head.deploymentId],
    ['model-group', headerText(head.group)],
    ['attempted-retries', String(head.retries)],
    ['attempted-fallbacks', String(head.fallbacks)],
    ['overhead-duration-ms', overhead],
    ...more,
  ]
  for (const [name, value] of facts) {
    res.setHeader(`x-penstock-${name}`, value)
    res.setHeader(`x-litellm-${name}`, value)
  }
}

/** Header values are Latin-1 without control characters; a model group's name may be anything. */
function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text)
}

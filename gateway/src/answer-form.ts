// The form in which a client reads its answer: OpenAI's, which the frames carry already, so that their
// bytes go out as they are, or another dialect's, translated unless the upstream spoke it itself.
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorInfo, errorBody, PenstockError } from '@penstock/shared/contracts/errors'
import type { Dialect, DialectStream, Fields } from '@penstock/shared/dialects/dialect'

type Bytes = Uint8Array | string

/** How a client of some dialect is told of an error; known before its request is. */
export interface ErrorForm {
  body(info: ErrorInfo): object
  /** The last event of a stream that has begun. */
  event(info: ErrorInfo): Bytes
}

/** Of one request. What it is given is canonical unless the head says otherwise. */
export interface AnswerForm {
  streamType: string
  error: ErrorForm
  /** Null: this dialect's clients cannot be told. */
  queued(position: number): Bytes | null
  /**
   * Bytes of a stream. `head` comes with the first ones of all. Null: nothing to write yet.
   * @throws PenstockError `upstream_invalid_response` for what cannot be translated
   */
  data(head: FrameHead | null, bytes: Uint8Array): Uint8Array | null
  /** The end of a stream: its last bytes, if any, and what closes it. */
  end(head: FrameHead | null, bytes: Uint8Array, end: FrameEnd): Bytes[]
  whole(head: FrameHead | null, bytes: Uint8Array, end: FrameEnd): Uint8Array
}

const done = Buffer.from('data: [DONE]\n\n')

export const chatErrors: ErrorForm = {
  body: errorBody,
  event: (info) => `data: ${JSON.stringify(errorBody(info))}\n\n`,
}

export const chatForm: AnswerForm = {
  streamType: 'text/event-stream; charset=utf-8',
  error: chatErrors,
  queued: (position) => `: queued position=${position}\n\n`,
  data: (_head, bytes) => bytes,
  end: (_head, bytes) => [bytes, done],
  whole: (_head, bytes) => bytes,
}

/** @param stream the answer's, where one has begun */
export function dialectErrors(
  dialect: Dialect,
  requestId: string,
  stream: () => DialectStream = () => dialect.stream({}),
): ErrorForm {
  return {
    body: (info) => dialect.errorBody(info, requestId),
    event: (info) => stream().error(info),
  }
}

/** @param request as the client sent it */
export function dialectForm(dialect: Dialect, request: Fields, requestId: string): AnswerForm {
  let opened: DialectStream | null = null
  let isNative = false
  const stream = () => {
    opened ??= dialect.stream(request)
    return opened
  }
  const note = (head: FrameHead | null) => {
    if (head !== null) isNative = head.dialect === dialect.name
  }
  return {
    streamType: dialect.streamType,
    error: dialectErrors(dialect, requestId, stream),
    queued: (position) => dialect.queued(position),
    data(head, bytes) {
      note(head)
      return isNative ? bytes : stream().push(bytes)
    },
    end(head, bytes, end) {
      note(head)
      if (isNative) return [bytes]
      const last = bytes.length === 0 ? null : stream().push(bytes)
      return last === null ? [stream().end(end)] : [last, stream().end(end)]
    },
    whole(head, bytes, end) {
      note(head)
      if (isNative) return bytes
      return Buffer.from(JSON.stringify(translated(dialect, bytes, request, end)))
    },
  }
}

/** A reply that is passed on unread to OpenAI's clients is read here. */
function translated(dialect: Dialect, bytes: Uint8Array, request: Fields, end: FrameEnd): Fields {
  try {
    return dialect.answer(JSON.parse(Buffer.from(bytes).toString('utf8')), request, end)
  } catch (cause) {
    if (cause instanceof PenstockError) throw cause
    const message = "The upstream's answer cannot be translated."
    throw new PenstockError('upstream_invalid_response', message, { cause })
  }
}

// One run of a request that several clients wait for: what comes is recorded and given to all of them,
// to those who join late from its beginning. It ends for each of them exactly once.
import type { FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorCode, type ErrorInfo, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { AnswerSink } from '../answer.ts'
import type { Recording } from './recording.ts'

/** Puts a request under way; what becomes of it goes to the sink. @returns withdraw it */
export type Start = (sink: AnswerSink) => () => void

/** A client. */
export interface Member {
  sink: AnswerSink
  /** The same request as this client's own, should it be its turn to lead. */
  start: Start
}

export interface FlightOptions {
  stream: boolean
  /** A larger answer is passed on, but not recorded. */
  maxBytes: number
  /** True: it goes on when all its clients have left. */
  outlivesClients: boolean
  /**
   * The answer, or the failure, is all there: told before the clients are, who wait for the promise.
   * @param recording null where it grew too large
   */
  onOver(recording: Recording | null, error: ErrorInfo | null): Promise<void> | undefined
  /** All clients left, and the run was withdrawn. */
  onEmpty(): void
}

export interface Flight {
  readonly sink: AnswerSink
  /** @returns leave; null where too much went by already to catch up */
  join(member: Member): (() => void) | null
  /** Lets the first member's request run. */
  lead(): void
}

/** What concerns the client that leads, and not those who wait beside it: the next one tries. */
const ownErrors: readonly ErrorCode[] = [
  'rate_limited',
  'budget_exceeded',
  'price_unknown',
  'queue_timeout',
  'deadline_exceeded',
]

const nothing = new Uint8Array(0)

export function createFlight(options: FlightOptions): Flight {
  const { stream, maxBytes, outlivesClients, onOver, onEmpty } = options
  const members = new Set<Member>()
  /** Who came first, whether or not it is still there. */
  let founder: Member | null = null
  let leader: Member | null = null
  let withdraw = () => {}
  let isOver = false
  let head: FrameHead | null = null
  let parts: Uint8Array[] | null = []
  let bytes = 0

  const tellAll = (tell: (sink: AnswerSink) => void) => {
    for (const member of [...members]) {
      try {
        tell(member.sink)
      } catch (cause) {
        // One who cannot read it does not keep it from the others.
        leave(member)
        member.sink.onError(toErrorInfo(cause))
      }
    }
  }

  function leave(member: Member): void {
    if (!members.delete(member) || members.size > 0 || isOver || outlivesClients) return
    isOver = true
    withdraw()
    onEmpty()
  }

  function record(data: Uint8Array): void {
    bytes += data.length
    if (bytes > maxBytes) parts = null
    else if (data.length > 0) parts?.push(data)
  }

  /** @param last bytes that come with the end, and that no member has had */
  function finish(
    ended: Pick<Recording, 'end' | 'error'>,
    last: Uint8Array,
    tell: (sink: AnswerSink) => void,
  ): void {
    isOver = true
    const isWhole = parts !== null && bytes + last.length <= maxBytes
    // Not recorded: whoever joins from now on is told of the last bytes together with the others.
    const data = isWhole ? Buffer.concat([...(parts ?? []), last]) : null
    const recording = data === null ? null : { stream, head, ...ended, at: Date.now(), data }
    const kept = onOver(recording, ended.error)
    if (kept === undefined) tellAll(tell)
    else void kept.then(() => tellAll(tell))
  }

  const sink: AnswerSink = {
    onQueued: (position) => tellAll((one) => one.onQueued(position)),
    onData(first, data) {
      head = first ?? head
      record(data)
      tellAll((one) => one.onData(first, data))
    },
    onEnd(first, data, end) {
      head = first ?? head
      finish({ end, error: null }, data, (one) => one.onEnd(first, data, end))
    },
    onError(error) {
      const isOwn = !outlivesClients && head === null && ownErrors.includes(error.code)
      if (isOwn && passOn(error)) return
      finish({ end: null, error }, nothing, (one) => one.onError(error))
    },
  }

  function passOn(error: ErrorInfo): boolean {
    const failed = leader
    if (failed === null || members.size === (members.has(failed) ? 1 : 0)) return false
    if (members.delete(failed)) failed.sink.onError(error)
    lead()
    return true
  }

  function lead(): void {
    // Where nobody has to be there, a request whose client left before it began begins nevertheless:
    // else repeats would wait for it for ever.
    const first = members.values().next().value ?? (outlivesClients ? founder : null)
    if (first === null) return
    leader = first
    const withdrawThis = first.start(sink)
    // It may have failed at once, and the next one leads.
    if (leader === first) withdraw = withdrawThis
  }

  return {
    sink,
    lead,
    join(member) {
      if (parts === null) return null
      // A plain answer comes with its end alone, also where that is being kept already.
      if (stream && (head !== null || parts.length > 0)) {
        member.sink.onData(head, Buffer.concat(parts))
      }
      members.add(member)
      founder ??= member
      return () => leave(member)
    },
  }
}

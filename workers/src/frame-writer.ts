// Writes the frames of one attempt to the gateway that waits: numbered from 0, the head with the
// first one, none larger than NATS takes.
import type { Bus } from '@penstock/shared/bus/connect'
import type { FinishedFrames } from '@penstock/shared/bus/finished-frames'
import {
  countsOf,
  encodeFrame,
  type FrameEnd,
  type FrameHead,
  frameKinds,
} from '@penstock/shared/bus/frame-codec'
import type { ErrorInfo } from '@penstock/shared/contracts/errors'

export interface FrameWriter {
  /** Anything was sent: from now on the attempt cannot be replaced by another. */
  readonly begun: boolean
  data(bytes: Uint8Array): void
  end(bytes: Uint8Array | null, took: Omit<FrameEnd, 'head'>): void
  error(error: ErrorInfo): void
}

const maxFrameBytes = 512 * 1024
const nothing = new Uint8Array(0)

export function createFrameWriter(
  bus: Bus,
  finished: FinishedFrames,
  replyTo: string,
  attempt: number,
  head: () => FrameHead,
): FrameWriter {
  let sequence = 0
  const sendData = (bytes: Uint8Array) => {
    const meta = sequence === 0 ? head() : null
    bus.outbox.publish(replyTo, encodeFrame(frameKinds.data, attempt, sequence++, meta, bytes))
  }
  const sendPieces = (bytes: Uint8Array): Uint8Array => {
    let rest = bytes
    while (rest.length > maxFrameBytes) {
      sendData(rest.subarray(0, maxFrameBytes))
      rest = rest.subarray(maxFrameBytes)
    }
    return rest
  }
  return {
    get begun() {
      return sequence > 0
    },
    data: (bytes) => sendData(sendPieces(bytes)),
    end(bytes, { usage, startedAt, endedAt }) {
      const rest = sendPieces(bytes ?? nothing)
      const first = sequence === 0 ? head() : null
      const meta = { head: first, usage: countsOf(usage), startedAt, endedAt }
      const frame = encodeFrame(frameKinds.end, attempt, sequence++, meta, rest)
      bus.outbox.publish(replyTo, frame)
      finished.note(replyTo, frame)
    },
    error(error) {
      const frame = encodeFrame(frameKinds.error, attempt, sequence++, error)
      bus.outbox.publish(replyTo, frame)
      finished.note(replyTo, frame)
    },
  }
}

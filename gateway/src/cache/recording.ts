// An answer as it came from the queue, kept to be given again: the frames' bytes before any dialect, so
// that whoever asks the same way reads the same. Layout when stored: meta length (4 bytes, big-endian),
// meta as JSON, data.
import { frameEnd, frameHead } from '@penstock/shared/bus/frame-codec'
import { errorInfo } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import type { AnswerSink } from '../answer.ts'

const recordingMeta = z.object({
  stream: z.boolean(),
  head: frameHead.nullable(),
  /** One of these two is how it ended. */
  end: frameEnd.nullable(),
  error: errorInfo.nullable(),
  /** Epoch milliseconds at which it ended. */
  at: z.int(),
})

export type Recording = z.output<typeof recordingMeta> & { data: Uint8Array }

const lengthBytes = 4
const nothing = new Uint8Array(0)

export function encodeRecording({ data, ...meta }: Recording): Buffer {
  const json = Buffer.from(JSON.stringify(meta))
  const out = Buffer.allocUnsafe(lengthBytes + json.length + data.length)
  out.writeUInt32BE(json.length, 0)
  out.set(json, lengthBytes)
  out.set(data, lengthBytes + json.length)
  return out
}

/** Null for bytes that are no recording, or one of another version. */
export function decodeRecording(bytes: Uint8Array): Recording | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.length < lengthBytes) return null
  const dataAt = lengthBytes + view.readUInt32BE(0)
  try {
    const meta = recordingMeta.parse(JSON.parse(view.toString('utf8', lengthBytes, dataAt)))
    return { ...meta, data: view.subarray(dataAt) }
  } catch {
    return null
  }
}

export function replay({ stream, head, end, error, data }: Recording, sink: AnswerSink): void {
  // Nobody was called for it this time.
  const again = head === null ? null : { ...head, upstreamMs: 0 }
  if (end !== null) {
    if (!stream) {
      sink.onEnd(again, data, end)
      return
    }
    sink.onData(again, nothing)
    // With the end, so that it is not measured how fast its client reads.
    sink.onEnd(null, data, end)
    return
  }
  if (stream && (again !== null || data.length > 0)) sink.onData(again, data)
  if (error !== null) sink.onError(error)
}

// Frames carry an answer from a worker (or the router's refusal) straight to the waiting gateway.
// Layout: kind (1 byte), attempt (1), sequence (4, big-endian), meta length (4), meta as JSON, data.
// The sequence counts the frames of one attempt from 0: a gap means that something was lost.
import { z } from 'zod'
import { errorInfo } from '../contracts/errors.ts'
import { dialectName } from '../contracts/request.ts'
import { noUsage, type TokenUsage, tokenUsage } from '../contracts/usage.ts'

/**
 * `data`: bytes of the answer; the first one of an attempt carries the head as its meta.
 * `end`: the answer is complete (a plain JSON answer may travel whole inside it); its meta says what
 *   it took, and carries the head where it is the only frame.
 * `error`: the one final outcome of a request that failed.
 * `queued`: still waiting; its meta is the position. From the router, outside any sequence.
 */
export const frameKinds = { data: 1, end: 2, error: 3, queued: 4 } as const
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds]

/** What the response headers say of the attempt that answered. */
export const frameHead = z.object({
  deploymentId: z.string(),
  group: z.string(),
  retries: z.int(),
  fallbacks: z.int(),
  /** Milliseconds from the upstream call to its first byte (whole answer, if not streamed). */
  upstreamMs: z.number(),
  /** What the bytes are written in, where they are the upstream's own; absent: canonical. */
  dialect: dialectName.exactOptional(),
  /** Of a whole answer that is not JSON. */
  contentType: z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/)
    .exactOptional(),
})
export type FrameHead = z.infer<typeof frameHead>
/** What the answer took. Counts that are 0 do not travel. */
export const frameEnd = z.object({
  head: frameHead.nullable(),
  usage: z.preprocess((counts) => ({ ...noUsage, ...Object(counts) }), tokenUsage),
  /** Epoch milliseconds of the call: for prices per second. */
  startedAt: z.int(),
  endedAt: z.int(),
})
export type FrameEnd = z.infer<typeof frameEnd>
export { errorInfo as frameError }
export const queuedMeta = z.object({ position: z.int().min(1) })

export interface Frame {
  kind: FrameKind
  attempt: number
  sequence: number
  /** The meta's JSON bytes; empty where there is none. */
  meta: Uint8Array
  data: Uint8Array
}

const headerBytes = 10
const none = new Uint8Array(0)

export function encodeFrame(
  kind: FrameKind,
  attempt: number,
  sequence: number,
  meta: object | null,
  data: Uint8Array = none,
): Uint8Array {
  const json = meta === null ? '' : JSON.stringify(meta)
  const metaLength = json === '' ? 0 : Buffer.byteLength(json)
  const out = Buffer.allocUnsafe(headerBytes + metaLength + data.length)
  out[0] = kind
  out[1] = attempt & 0xff
  out.writeUInt32BE(sequence, 2)
  out.writeUInt32BE(metaLength, 6)
  if (metaLength > 0) out.write(json, headerBytes)
  out.set(data, headerBytes + metaLength)
  return out
}

/** The counts that are not 0, as they travel. */
export function countsOf(usage: TokenUsage): Partial<TokenUsage> {
  return Object.fromEntries(Object.entries(usage).filter(([, count]) => count))
}

/** @throws RangeError if the bytes are no frame. */
export function decodeFrame(bytes: Uint8Array): Frame {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const metaEnd = headerBytes + view.readUInt32BE(6)
  const kind = view[0]
  if ((kind !== 1 && kind !== 2 && kind !== 3 && kind !== 4) || metaEnd > view.length) {
    throw new RangeError('not a frame')
  }
  return {
    kind,
    attempt: view[1] ?? 0,
    sequence: view.readUInt32BE(2),
    meta: view.subarray(headerBytes, metaEnd),
    data: view.subarray(metaEnd),
  }
}

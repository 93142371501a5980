// A form with one file as it travels in a request's body: what was multipart from the client is so again
// to the upstream, with a boundary of its own. The layout is an envelope's, the file in the body's place.
import { z } from 'zod'
import { decodeEnvelope, encodeEnvelope } from './bus/envelope-codec.ts'

const uploadHead = z.object({
  /** A field that came several times is a list. */
  fields: z.record(z.string(), z.union([z.string(), z.array(z.string())])),
  filename: z.string(),
  contentType: z.string(),
})

export type UploadHead = z.infer<typeof uploadHead>
export type UploadFields = UploadHead['fields']

export interface UploadedFile {
  filename: string
  contentType: string
  bytes: Uint8Array
}

export function encodeUpload(head: UploadHead, bytes: Uint8Array): Buffer {
  const encoded = encodeEnvelope(head, bytes)
  return Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength)
}

/** @throws Error (zod's or a RangeError) if the bytes are no upload */
export function decodeUpload(data: Uint8Array): { fields: UploadFields; file: UploadedFile } {
  const { envelope, body: bytes } = decodeEnvelope(uploadHead, data)
  const { fields, filename, contentType } = envelope
  return { fields, file: { filename, contentType, bytes } }
}

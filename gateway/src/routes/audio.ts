// Speech from text, JSON in and audio out; text from speech, a form with the file in. A file travels
// with its fields in the request's body, by claim check where it is larger than a message.
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { UploadOperation } from '@penstock/shared/contracts/request'
import { encodeUpload, type UploadFields } from '@penstock/shared/upload'
import type { Express, RequestHandler } from 'express'
import type { z } from 'zod'
import { readUpload } from '../batch/read-upload.ts'
import type { Gateway } from '../gateway.ts'
import { speechRequest, transcriptionRequest, translationRequest } from '../routed-schemas.ts'
import { type KnownFields, parseRequest } from '../schemas.ts'
import { inferenceRoute, requestRoute } from './inference.ts'

/** OpenAI's own limit, in bytes ("Speech to text": 25 MB). */
export const maxAudioBytes = 25 * 1024 * 1024

export function mountAudio(app: Express, gateway: Gateway): void {
  const both = (path: string) => [`/v1${path}`, path]
  const upload = <S extends z.ZodType<KnownFields>>(operation: UploadOperation, schema: S) =>
    uploadRoute(gateway, operation, schema)
  app.post(both('/audio/speech'), inferenceRoute(gateway, 'speech', speechRequest))
  app.post(both('/audio/transcriptions'), upload('transcription', transcriptionRequest))
  app.post(both('/audio/translations'), upload('translation', translationRequest))
}

function uploadRoute<S extends z.ZodType<KnownFields>>(
  gateway: Gateway,
  operation: UploadOperation,
  schema: S,
): RequestHandler {
  return requestRoute(
    gateway,
    (value) => ({ operation, request: parseRequest(schema, value), foreign: null }),
    receiveUpload,
  )
}

/** @throws PenstockError `request_too_large`, and what `readUpload` throws */
async function receiveUpload(
  req: IncomingMessage,
): Promise<{ bytes: Buffer; value: UploadFields }> {
  const chunks: Buffer[] = []
  const { entries, filename, contentType } = await readUpload(req, (file) => keep(file, chunks))
  const fields = gathered(entries)
  const head = { fields, filename, contentType }
  return { bytes: encodeUpload(head, Buffer.concat(chunks)), value: fields }
}

async function keep(file: Readable, chunks: Buffer[]): Promise<number> {
  let size = 0
  for await (const chunk of file as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxAudioBytes) {
      const message = `The file is larger than ${maxAudioBytes / 1024 / 1024} MB.`
      throw new PenstockError('request_too_large', message, { param: 'file' })
    }
    chunks.push(chunk)
  }
  return size
}

/** A field that came several times as a list: `timestamp_granularities[]`. */
function gathered(entries: readonly [name: string, value: string][]): UploadFields {
  const lists = Map.groupBy(entries, ([name]) => name)
  const fields: [string, string | string[]][] = []
  for (const [name, found] of lists) {
    const [first, ...more] = found.map(([, value]) => value)
    if (first !== undefined) fields.push([name, more.length === 0 ? first : [first, ...more]])
  }
  return Object.fromEntries(fields)
}

// OpenAI's embeddings for the upstreams that answer with numbers alone: their form, and the list of them.
import { z } from 'zod'
import { parseField } from './request-fields.ts'

const encoding = z.enum(['float', 'base64']).nullish()

/** `encoding_format`: the numbers unless it asks for base64. @throws PenstockError `invalid_request` */
export function isBase64(encodingFormat: unknown): boolean {
  return parseField(encoding, encodingFormat, 'encoding_format') === 'base64'
}

/** The reply's `data`. */
export function embeddingsOf(vectors: readonly (readonly number[])[], asBase64: boolean) {
  return vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding: asBase64 ? base64Float32(vector) : vector,
  }))
}

/** Number by number: zod would make an issue list of a million of them. */
export function isVector(values: readonly unknown[]): values is number[] {
  return values.every((value) => typeof value === 'number')
}

/** The numbers as little-endian float32, in base64. */
function base64Float32(vector: readonly number[]): string {
  const bytes = Buffer.allocUnsafe(vector.length * 4)
  let offset = 0
  for (const value of vector) offset = bytes.writeFloatLE(value, offset)
  return bytes.toString('base64')
}

// OpenAI's `encoding_format: base64` for the upstreams that answer with numbers alone.

/** The numbers as little-endian float32, in base64. */
export function base64Float32(vector: readonly number[]): string {
  const bytes = Buffer.allocUnsafe(vector.length * 4)
  let offset = 0
  for (const value of vector) offset = bytes.writeFloatLE(value, offset)
  return bytes.toString('base64')
}

// An upstream that does not keep to its own API: replies are parsed against what it documents, and
// what does not fit is told in the same words for each of them.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { z } from 'zod'

/**
 * @param upstream its name, for the message
 * @throws PenstockError `upstream_invalid_response` naming the place that is not of its form
 */
export function parseFrom<T>(upstream: string, schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const place = parsed.error.issues[0]?.path.join('.') ?? ''
  const where = place === '' ? '' : ` at ${place}`
  throw unexpectedFrom(upstream, `an answer that is not of its API's form${where}`)
}

/** @param what a noun phrase: `an event that is not JSON` */
export function unexpectedFrom(upstream: string, what: string, cause?: unknown): PenstockError {
  return new PenstockError('upstream_invalid_response', `${upstream} sent ${what}.`, { cause })
}

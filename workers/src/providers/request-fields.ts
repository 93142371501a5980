// How the translating providers read a field of a request in OpenAI's form: against its schema, or
// refused with its place named.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'

/** OpenAI's `stop`: one, or a list of them. */
export const stopSequences = z.union([z.string().transform((one) => [one]), z.array(z.string())])

/** @throws PenstockError `invalid_request` naming the place below `param` that is wrong. */
export function parseField<T>(schema: z.ZodType<T>, value: unknown, param: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const steps = issue?.path.map((step) =>
    typeof step === 'number' ? `[${step}]` : `.${String(step)}`,
  )
  const place = `${param}${steps?.join('') ?? ''}`
  const message = `${place}: ${issue?.message ?? 'invalid value'}.`
  throw new PenstockError('invalid_request', message, { param: place })
}

export function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

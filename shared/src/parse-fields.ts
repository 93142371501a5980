// Values from outside against their schema: the first fault, and where it stands, as the client is told.
import type { z } from 'zod'
import { PenstockError } from './contracts/errors.ts'

/**
 * @param what of which the fields are, for the message
 * @throws PenstockError `invalid_request`, its `param` the path of the first fault (`messages[2].role`)
 */
export function parseFields<S extends z.ZodType>(
  schema: S,
  value: unknown,
  what: string,
): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  const path = pathOf([...(issue?.path ?? []), ...unknown])
  const reason = unknown.length > 0 ? 'unknown field' : (issue?.message ?? 'invalid')
  const message = path === '' ? `Invalid ${what}: ${reason}` : `Invalid ${what}: ${path}: ${reason}`
  throw new PenstockError('invalid_request', message, { param: path === '' ? null : path })
}

function pathOf(path: readonly PropertyKey[]): string {
  let out = ''
  for (const key of path) {
    if (typeof key === 'number') out += `[${key}]`
    else out += out === '' ? String(key) : `.${String(key)}`
  }
  return out
}

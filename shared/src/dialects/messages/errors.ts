// Errors in Anthropic's form (docs: api/errors): a type for each status.
import type { ErrorInfo } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'

const types = new Map([
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [409, 'conflict_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
])

export function messagesError({ status, message }: ErrorInfo): Fields {
  const type = types.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error')
  return { type: 'error', error: { type, message } }
}

// What became of a failure: whether a repeat may try again, or something may have been generated, and
// the repeat gets the same.
import type { ErrorCode, ErrorInfo } from '@penstock/shared/contracts/errors'

/** Ends of a request that may have run, wholly or in part, without our knowing. */
const mayHaveGenerated: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'deadline_exceeded',
  'interrupted',
  'upstream_timeout',
  'upstream_cut_off',
  'upstream_invalid_response',
  'internal_error',
])

/** @param hasBegun bytes of the answer came before it failed */
export function isRemembered(error: ErrorInfo | null, hasBegun: boolean): boolean {
  return error === null || hasBegun || mayHaveGenerated.has(error.code)
}

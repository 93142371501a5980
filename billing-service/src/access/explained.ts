// Errors of the database as whoever asked may see them.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { databaseErrorCode, databaseProblem, isDataError } from '../database-error.ts'

/** PostgreSQL's codes for a transaction that another one stood in the way of. */
const passing = new Set(['40001', '40P01'])

/** Whether the same transaction may well succeed the next time. */
export function isPassing(error: unknown): boolean {
  const code = databaseErrorCode(error)
  return code !== null && passing.has(code)
}

/** @param subject what was asked about, for the log */
export function explained(error: unknown, subject: string, log: Logger): PenstockError {
  if (error instanceof PenstockError) return error
  const code = databaseErrorCode(error)
  if (isDataError(error)) {
    log.warn({ subject, code }, 'the database refused a value')
    return new PenstockError('invalid_request', 'A parameter has a value that cannot be stored.')
  }
  if (code === null && !isPlain(error)) {
    log.error({ err: error, subject }, 'cannot answer')
    return new PenstockError('internal_error', 'An internal error occurred.', { cause: error })
  }
  const problem = databaseProblem(error)
  log.error({ subject, problem, code }, 'cannot answer')
  const message = `The database cannot be asked: ${problem}.`
  return new PenstockError('service_unavailable', message, { cause: error })
}

/** As pg's time-outs and lost connections are, which carry no code; a defect of ours is a TypeError or so. */
function isPlain(error: unknown): boolean {
  return error instanceof Error && Object.getPrototypeOf(error) === Error.prototype
}

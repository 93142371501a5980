// Answers the gateway's questions about spend; each is asked of whichever billing service is free.

import type { Bus } from '@penstock/shared/bus/connect'
import { answer, answerWithBody } from '@penstock/shared/bus/request-reply'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Kysely } from 'kysely'
import type { Database } from './database.ts'
import { databaseErrorCode, databaseProblem, isDataError } from './database-error.ts'
import { spendActivity } from './reports/activity.ts'
import { requestContent } from './reports/request-content.ts'
import { spendTotals } from './reports/totals.ts'
import { spendLogs } from './spend-logs.ts'
import { spendSummary } from './spend-summary.ts'

const queue = 'billing'

/** @returns stop */
export function answerSpend(bus: Bus, db: Kysely<Database>, log: Logger): () => void {
  const asked =
    <Q, A>(about: string, ask: (db: Kysely<Database>, query: Q) => Promise<A>) =>
    async (query: Q): Promise<A> => {
      try {
        return await ask(db, query)
      } catch (error) {
        throw explained(error, about, log)
      }
    }
  const { spendLogs: logs, spendSummary: summary, spendContent: content } = channels
  const { spendTotals: totals, spendActivity: activity } = channels
  const subs = [
    answerWithBody(bus, logs, logs.subject(), asked('spend logs', spendLogs), queue),
    answer(bus, summary, summary.subject(), asked('spend summary', spendSummary), queue),
    answer(bus, content, content.subject(), asked('request content', requestContent), queue),
    answer(bus, totals, totals.subject(), asked('spend totals', spendTotals), queue),
    answerWithBody(
      bus,
      activity,
      activity.subject(),
      asked('daily activity', spendActivity),
      queue,
    ),
  ]
  return () => {
    for (const sub of subs) sub.unsubscribe()
  }
}

const statementTooLong = '57014'

function explained(error: unknown, about: string, log: Logger): PenstockError {
  if (error instanceof PenstockError) return error
  if (isDataError(error)) {
    return new PenstockError('invalid_request', 'A filter has a value that cannot be looked up.')
  }
  const problem = databaseProblem(error)
  log.error({ about, problem, code: databaseErrorCode(error) }, 'cannot answer about spend')
  const message =
    databaseErrorCode(error) === statementTooLong
      ? 'The question took too long: ask for fewer days, or for one key or user.'
      : `The database cannot be asked: ${problem}.`
  return new PenstockError('service_unavailable', message, { cause: error })
}

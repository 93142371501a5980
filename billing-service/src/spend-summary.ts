// GET /spend/logs?summarize=true: spend by day, and within a day by key, user and model, in the
// shape that LiteLLM gives it.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type {
  SpendSummary,
  SpendSummaryDay,
  SpendSummaryQuery,
} from '@penstock/shared/contracts/spend'
import { dollarText } from '@penstock/shared/pricing/money'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { maxPageBytes } from './reports/page.ts'
import { keyIdOf, scopeOf, withinScope } from './reports/scope.ts'
import { dayCount, daysFrom } from './spend-period.ts'

const maxDays = 366
/** An answer is one NATS message: so many days and so many sums at most. */
const daysPerAnswer = 31
const sumsPerAnswer = 5_000
/** Of a message of 1 MB, with room for what stands around it. */
const maxDayBytes = 960 * 1024

interface SumRow {
  day: string
  key_id: string | null
  user_id: string | null
  model: string | null
  /** Which of the three columns this sum is not by: a bit each, out of Postgres' grouping(). */
  without: number
  amount: string
}

const byKey = 0b011
const byUser = 0b101
const byModel = 0b110

/**
 * Sums are exact; only the result is turned into a JSON number. Every day of the range is there,
 * with zeros where nothing was spent. What is too much for one answer continues at `nextStart`.
 * @throws PenstockError `invalid_request` if the range ends before it begins, spans more than 366
 *   days, or a single day has more than 5,000 keys, users and models.
 */
export async function spendSummary(
  db: Kysely<Database>,
  query: SpendSummaryQuery,
): Promise<SpendSummary> {
  const count = dayCount(query.start_date, query.end_date)
  if (count < 1) throw refused('end_date', 'end_date is before start_date.')
  if (count > maxDays) throw refused('end_date', `The range exceeds ${maxDays} days.`)
  const days = daysFrom(query.start_date, count)
  const asked = days.slice(0, daysPerAnswer)
  const sums = await sumsOf(db, query, asked)

  // The row beyond the limit shows that its day is incomplete: that day waits for the next answer.
  const cut = sums[sumsPerAnswer]?.day
  const complete = cut === undefined ? asked : asked.filter((day) => day < cut)
  const answered = fitting(
    complete.map((day) =>
      summaryDay(
        day,
        sums.filter((sum) => sum.day === day),
      ),
    ),
  )
  if (answered.length === 0) {
    const message = `${asked[0]} has too many keys, users and models: ask for one of them.`
    throw refused('start_date', message)
  }
  return { days: answered, nextStart: days[answered.length] ?? null }
}

/** As many as one message holds: names may be long. A day on its own may take all of it. */
function fitting(days: SpendSummaryDay[]): SpendSummaryDay[] {
  let bytes = 0
  const beyond = days.findIndex((day, at) => {
    bytes += Buffer.byteLength(JSON.stringify(day)) + 1
    return bytes > (at === 0 ? maxDayBytes : maxPageBytes)
  })
  return beyond === -1 ? days : days.slice(0, beyond)
}

async function sumsOf(
  db: Kysely<Database>,
  query: SpendSummaryQuery,
  days: string[],
): Promise<SumRow[]> {
  const keyId = query.api_key === undefined ? undefined : await keyIdOf(db, query.api_key)
  if (keyId === null) return []
  const scope = await scopeOf(db, query.actor)
  const conditions = [sql`day between ${days[0]}::date and ${days.at(-1)}::date`]
  if (keyId !== undefined) conditions.push(sql`key_id = ${keyId}`)
  if (query.user_id !== undefined) conditions.push(sql`user_id = ${query.user_id}`)
  if (query.team_id !== undefined) conditions.push(sql`team_id = ${query.team_id}`)
  const spent =
    query.request_id === undefined
      ? sql`daily_spend where ${withinScope(scope)}`
      : sql`(select *, (received_at at time zone 'UTC')::date as day from request_log) as spent
          where request_id = ${query.request_id} and ${withinScope(scope)}`
  const result = await sql<SumRow>`
    select day::text, key_id, user_id, model,
      grouping(key_id, user_id, model) as without, sum(amount) as amount
    from ${spent} and ${sql.join(conditions, sql` and `)}
    group by grouping sets ((day), (day, key_id), (day, user_id), (day, model))
    order by day
    limit ${sumsPerAnswer + 1}`.execute(db)
  return result.rows
}

function summaryDay(day: string, sums: SumRow[]): SpendSummaryDay {
  const by = (without: number, name: (sum: SumRow) => string | null) =>
    sums
      .filter((sum) => sum.without === without)
      .map((sum): [string, number] => [name(sum) ?? '', dollars(sum.amount)])
  const total = sums.find((sum) => sum.without === 0b111)
  return {
    ...Object.fromEntries(by(byKey, (sum) => sum.key_id).filter(([key]) => key !== '')),
    startTime: day,
    spend: total === undefined ? 0 : dollars(total.amount),
    models: Object.fromEntries(by(byModel, (sum) => sum.model)),
    users: Object.fromEntries(by(byUser, (sum) => sum.user_id)),
  }
}

function dollars(amount: string): number {
  return Number(dollarText(BigInt(amount)))
}

function refused(param: string, message: string): PenstockError {
  return new PenstockError('invalid_request', message, { param })
}

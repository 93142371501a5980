// The durations of keys, as SQL: from now on.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type RawBuilder, sql } from 'kysely'

const hoursOf: Record<string, number> = { d: 24, w: 7 * 24 }
const intervalUnits: Record<string, string> = { s: 'seconds', m: 'minutes', h: 'hours' }

/**
 * `30d` is 30 times 24 hours from now, whatever clocks do meanwhile; `1mo` the same moment (UTC) of the
 * next month, or its last day.
 * @throws PenstockError `invalid_request` for what is no duration
 */
export function fromNowOn(duration: string): RawBuilder<Date> {
  const [, digits, unit = ''] = /^(\d{1,5})(s|m|h|d|w|mo)$/.exec(duration) ?? []
  const count = Number(digits)
  if (unit === 'mo') {
    return sql`(now() at time zone 'UTC' + ${`${count} months`}::interval) at time zone 'UTC'`
  }
  const hours = hoursOf[unit]
  if (hours !== undefined) return sql`now() + ${`${count * hours} hours`}::interval`
  const name = intervalUnits[unit]
  if (name !== undefined) return sql`now() + ${`${count} ${name}`}::interval`
  throw new PenstockError('invalid_request', 'Invalid request: duration', { param: 'duration' })
}

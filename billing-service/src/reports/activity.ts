// GET /user/daily/activity and /team/daily/activity: days with spend, newest first, each with its sums
// by model, provider, key and user or team, as LiteLLM shows them.
import type { WithBody } from '@penstock/shared/bus/request-reply'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { ActivityDay, ActivityPart, ActivityQuery } from '@penstock/shared/contracts/reports'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { Database } from '../database.ts'
import { dayCount } from '../spend-period.ts'
import { maxPageBytes } from './page.ts'
import { keyIdOf, scopeOf, withinScope } from './scope.ts'
import { metricsOf, type Sums, sumColumns } from './sums.ts'

const maxDays = 366
/** An answer is one message: so many days at most, and of a day so many names of each kind. */
const daysPerAnswer = 7
const namesPerDay = 100

interface DayRow extends Sums {
  day: string
}

interface PartRow extends Sums {
  day: string
  /** Which columns the sum is not by: a bit each, out of Postgres' grouping(). */
  without: number
  name: string
  key_alias: string | null
  team_id: string | null
  entity_alias: string | null
}

/** The columns in the order of grouping(), and where their sums are shown. */
const kinds = [
  ['model', 'models'],
  ['model_group', 'model_groups'],
  ['provider', 'providers'],
  ['key_id', 'api_keys'],
  ['entity', 'entities'],
] as const
type PartsName = (typeof kinds)[number][1]

/** @throws PenstockError `invalid_request` if the range ends before it begins or is too long */
export async function spendActivity(
  db: Kysely<Database>,
  query: ActivityQuery,
): Promise<WithBody<ActivityPart>> {
  const length = dayCount(query.start_date, query.end_date)
  if (length < 1) throw refused('end_date is before start_date.')
  if (length > maxDays) throw refused(`The range exceeds ${maxDays} days.`)
  const keyId = query.api_key === undefined ? undefined : await keyIdOf(db, query.api_key)
  if (keyId === null) return withDays([], [])
  const where = sql.join(
    conditionsOf(query, keyId, withinScope(await scopeOf(db, query.actor))),
    sql` and `,
  )
  const days = await sql<DayRow>`
    select day::text, ${sumColumns} from daily_spend where ${where}
    group by day order by day desc`.execute(db)
  const wanted = days.rows.slice(query.skip, query.skip + Math.min(query.limit, daysPerAnswer))
  const parts = wanted.length === 0 ? [] : await partsOf(db, query, where, wanted)
  const texts = wanted.map((day) => JSON.stringify(activityDay(day, parts, query.entity)))
  return withDays(fitting(texts), days.rows)
}

function withDays(texts: string[], all: DayRow[]): WithBody<ActivityPart> {
  const totals = metricsOf(all.reduce(plus, nothing))
  return {
    answer: { days: texts.length, dayCount: all.length, totals },
    body: Buffer.from(texts.join()),
  }
}

function conditionsOf(
  query: ActivityQuery,
  keyId: string | undefined,
  scope: RawBuilder<boolean>,
): RawBuilder<boolean>[] {
  const { team_ids: teams, exclude_team_ids: excluded } = query
  return [
    sql`day between ${query.start_date}::date and ${query.end_date}::date`,
    scope,
    ...(keyId === undefined ? [] : [sql<boolean>`key_id = ${keyId}`]),
    ...(query.user_id === undefined ? [] : [sql<boolean>`user_id = ${query.user_id}`]),
    ...(query.model === undefined ? [] : [sql<boolean>`model = ${query.model}`]),
    ...(query.entity === 'team' ? [sql<boolean>`team_id <> ''`] : []),
    ...(teams === null ? [] : [sql<boolean>`team_id = any(${teams})`]),
    ...(excluded.length === 0 ? [] : [sql<boolean>`team_id <> all(${excluded})`]),
  ]
}

async function partsOf(
  db: Kysely<Database>,
  { entity }: ActivityQuery,
  where: RawBuilder<unknown>,
  days: DayRow[],
): Promise<PartRow[]> {
  const columns = kinds.map(([column]) => sql.ref(column))
  const grouping = sql`grouping(${sql.join(columns)})`
  const name = sql`coalesce(${sql.join(columns)})`
  const entityAlias =
    entity === 'team'
      ? sql`(select team_alias from team where team_id = part.name)`
      : sql`(select user_alias from app_user where user_id = part.name)`
  const result = await sql<PartRow>`
    select part.*, key_alias, api_key.team_id,
      case when without = ${bitsWithout('entities')} then ${entityAlias} end as entity_alias
    from (
      select day::text as day, ${grouping} as without, ${name} as name, ${sumColumns},
        row_number() over (partition by day, ${grouping} order by sum(amount) desc, ${name}) as rank
      from (select *, ${sql.ref(`${entity}_id`)} as entity from daily_spend where ${where}) as spent
      where day = any(${days.map(({ day }) => day)}::date[])
      group by grouping sets (${sql.join(columns.map((column) => sql`(day, ${column})`))})
    ) as part
    left join api_key on without = ${bitsWithout('api_keys')} and key_id = part.name
    where rank <= ${namesPerDay}
    order by part.day, without, rank`.execute(db)
  return result.rows
}

/** grouping() sets the bit of each column that is not grouped by; the last column's is the lowest. */
function bitsWithout(wanted: PartsName): number {
  const at = kinds.findIndex(([, name]) => name === wanted)
  return 2 ** kinds.length - 1 - 2 ** (kinds.length - 1 - at)
}

function activityDay(day: DayRow, parts: PartRow[], entity: string): ActivityDay {
  const ofDay = parts.filter((part) => part.day === day.day)
  const named = (wanted: PartsName, metadataOf: (part: PartRow) => Record<string, string | null>) =>
    Object.fromEntries(
      ofDay
        .filter(({ without }) => without === bitsWithout(wanted))
        .map((part) => [part.name, { metrics: metricsOf(part), metadata: metadataOf(part) }]),
    )
  const plain = () => ({})
  return {
    date: day.day,
    metrics: metricsOf(day),
    breakdown: {
      models: named('models', plain),
      model_groups: named('model_groups', plain),
      providers: named('providers', plain),
      api_keys: named('api_keys', (part) => ({
        key_alias: part.key_alias,
        team_id: part.team_id,
      })),
      entities: named('entities', (part) => ({ [`${entity}_alias`]: part.entity_alias })),
    },
  }
}

/** As many as one message holds, but one at least. */
function fitting(days: string[]): string[] {
  let bytes = 0
  const beyond = days.findIndex((day, at) => {
    bytes += Buffer.byteLength(day) + 1
    return at > 0 && bytes > maxPageBytes
  })
  return beyond === -1 ? days : days.slice(0, beyond)
}

const nothing: Sums = {
  amount: '0',
  prompt_tokens: '0',
  completion_tokens: '0',
  requests: '0',
  failures: '0',
}

function plus(a: Sums, b: Sums): Sums {
  const sum = (name: keyof Sums) => String(BigInt(a[name]) + BigInt(b[name]))
  return {
    amount: sum('amount'),
    prompt_tokens: sum('prompt_tokens'),
    completion_tokens: sum('completion_tokens'),
    requests: sum('requests'),
    failures: sum('failures'),
  }
}

function refused(message: string): PenstockError {
  return new PenstockError('invalid_request', message, { param: 'end_date' })
}

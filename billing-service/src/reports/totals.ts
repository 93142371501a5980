// Totals of spend over a period, by team, key, user, model, provider, tag or day: sums of the daily
// tables, which are written with the ledger; they outlive the request log.

import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Grouping, TotalsPage, TotalsQuery } from '@penstock/shared/contracts/reports'
import { dollarText } from '@penstock/shared/pricing/money'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { z } from 'zod'
import type { Database } from '../database.ts'
import { pageOf, readCursor } from './page.ts'
import { keyIdOf, type Scope, scopeOf, withinScope } from './scope.ts'
import { metricsOf, type Sums, sumColumns } from './sums.ts'

interface TotalRow extends Sums {
  name: string
  about: Record<string, string | null> | null
}

/** What a sum is by. */
const names: Record<Grouping, RawBuilder<string>> = {
  team: sql`team_id`,
  key: sql`key_id`,
  user: sql`user_id`,
  model: sql`model`,
  model_group: sql`model_group`,
  provider: sql`provider`,
  tag: sql`tag`,
  day: sql`day::text`,
  all: sql`''`,
}

/** What is known of a name, as a JSON object; null where nothing is. */
const about: Partial<Record<Grouping, RawBuilder<TotalRow['about']>>> = {
  team: sql`(select json_build_object('team_alias', team_alias) from team where team_id = name)`,
  key: sql`(
    select json_build_object('key_alias', key_alias, 'key_name', key_name,
      'user_id', user_id, 'team_id', team_id)
    from api_key where key_id = name)`,
  user: sql`(
    select json_build_object('user_alias', user_alias, 'user_email', user_email)
    from app_user where user_id = name)`,
}

/** Pico-dollars and name of the last row, or the name alone where that is the order. */
const cursor = z.tuple([z.string().regex(/^-?\d{1,38}$/), z.string()])

/**
 * @throws PenstockError `invalid_request` for a cursor that is none of ours, and for a filter that
 *   sums by tag cannot take
 */
export async function spendTotals(db: Kysely<Database>, query: TotalsQuery): Promise<TotalsPage> {
  const after = readCursor(query.cursor, cursor)
  const conditions = await conditionsOf(db, query)
  if (conditions === null) return { rows: [], nextCursor: null }
  const isByDay = query.group_by === 'day'
  const { rows } = await sql<TotalRow>`
    select *, ${about[query.group_by] ?? sql`null::json`} as about
    from (
      select ${names[query.group_by]} as name, ${sumColumns}
      from ${sql.ref(tableOf(query))} where ${sql.join(conditions, sql` and `)}
      ${query.group_by === 'all' ? sql`` : sql`group by 1`}
    ) as total
    ${after === null ? sql`` : sql`where ${behind(after, isByDay)}`}
    order by ${isByDay ? sql`name` : sql`amount desc, name`}
    limit ${query.limit + 1}`.execute(db)
  return pageOf(
    rows,
    query.limit,
    ({ name, about: known, ...sums }) => ({
      name,
      about: known,
      ...metricsOf(sums),
      spend_usd: dollarText(BigInt(sums.amount)),
    }),
    (row) => [row.amount, row.name],
  )
}

function tableOf({ group_by: by }: TotalsQuery): 'daily_spend' | 'daily_tag_spend' {
  return by === 'tag' ? 'daily_tag_spend' : 'daily_spend'
}

function behind([amount, name]: z.infer<typeof cursor>, isByDay: boolean): RawBuilder<boolean> {
  if (isByDay) return sql`name > ${name}`
  return sql`(amount < ${amount}::numeric or (amount = ${amount}::numeric and name > ${name}))`
}

/** @returns null where there cannot be a row */
async function conditionsOf(
  db: Kysely<Database>,
  query: TotalsQuery,
): Promise<RawBuilder<boolean>[] | null> {
  const keyId = query.api_key === undefined ? undefined : await keyIdOf(db, query.api_key)
  if (keyId === null) return null
  const conditions = daysOf(query)
  if (keyId !== undefined) conditions.push(sql`key_id = ${keyId}`)
  const scope = await scopeOf(db, query.actor)
  const { group_by: by } = query
  for (const column of ['user_id', 'team_id', 'model', 'model_group'] as const) {
    const value = query[column]
    if (value === undefined) continue
    if (by === 'tag') throw refusedForTags(column)
    conditions.push(sql`${sql.ref(column)} = ${value}`)
  }
  if (by !== 'tag') conditions.push(withinScope(scope))
  else if (scope !== null) conditions.push(tagsWithinScope(scope, query))
  return conditions
}

function daysOf({ start_date: start, end_date: end }: TotalsQuery): RawBuilder<boolean>[] {
  return [
    ...(start === undefined ? [] : [sql<boolean>`day >= ${start}::date`]),
    ...(end === undefined ? [] : [sql<boolean>`day <= ${end}::date`]),
    sql<boolean>`true`,
  ]
}

/**
 * Tags are summed up by key and day. Of another's key they are shown for the days of which all its
 * spend may be seen: a day on which it went from one team to another is left out for both.
 */
function tagsWithinScope(scope: NonNullable<Scope>, query: TotalsQuery): RawBuilder<boolean> {
  return sql`(key_id = ${scope.keyId} or (day, key_id) in (
    select day, key_id from daily_spend
    where ${sql.join(daysOf(query), sql` and `)}
    group by day, key_id having bool_and(${withinScope(scope)})))`
}

function refusedForTags(param: string): PenstockError {
  const message = `Invalid request: ${param}: sums by tag can be narrowed by api_key and dates only`
  return new PenstockError('invalid_request', message, { param })
}

// The newest rows of the request log that an actor may see. Each way in which a row may be its own is
// a range of one index, whose end is read; one condition with `or` would sort all of them instead.
import { type Kysely, type RawBuilder, type Selectable, sql } from 'kysely'
import type { Database, RequestLogTable } from '../database.ts'
import { ofUser, type Scope } from './scope.ts'

export type LogRow = Selectable<RequestLogTable>

const newestFirst = sql`order by received_at desc, request_id desc, attempt desc`

/** @param conditions of which all hold */
export async function newestRows(
  db: Kysely<Database>,
  scope: Scope,
  conditions: readonly RawBuilder<boolean>[],
  limit: number,
): Promise<LogRow[]> {
  const newest = (...ways: RawBuilder<boolean>[]) => sql`(
    select * from request_log where ${sql.join([...ways, ...conditions], sql` and `)}
    ${newestFirst} limit ${limit})`
  const query =
    scope === null
      ? newest(sql`true`)
      : sql`select * from (${sql.join(waysInto(scope, newest), sql` union all `)}) as visible
          ${newestFirst} limit ${limit}`
  return (await sql<LogRow>`${query}`.execute(db)).rows
}

/** No row comes in two ways. */
function waysInto(
  scope: NonNullable<Scope>,
  newest: (...ways: RawBuilder<boolean>[]) => RawBuilder<unknown>,
): RawBuilder<unknown>[] {
  const { keyId, teamIds } = scope
  const isKeys = sql<boolean>`key_id = ${keyId}`
  const isUsers = ofUser(scope)
  const notKeys = sql<boolean>`(${isKeys}) is not true`
  const notUsers = sql<boolean>`(${isUsers}) is not true`
  return [
    newest(isKeys),
    newest(isUsers, notKeys),
    sql`select log.* from unnest(${teamIds}::text[]) as team(id)
      cross join lateral ${newest(sql`team_id = team.id`, notKeys, notUsers)} as log`,
  ]
}

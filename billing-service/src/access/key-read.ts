// Reads keys out: one, or a page of those that the asker may see.
import type { Actor } from '@penstock/shared/contracts/admin'
import type { keyOperations } from '@penstock/shared/contracts/admin/keys'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type RawBuilder, sql } from 'kysely'
import type { AdminTransaction, HandlersOf } from './admin-context.ts'
import { findKey, keyInfosOf, permittedKey, selectKeys } from './key-row.ts'
import { teamsAdministeredBy } from './relations.ts'

type Handlers = HandlersOf<typeof keyOperations>

export const info: Handlers['key.info'] = async (context, { key = context.actor.keyId }) => {
  if (context.actor.role === 'master' && (key === null || key === 'master')) {
    context.permit(['self'])
    const message = 'The master key has no entry: say which key with ?key=.'
    throw new PenstockError('not_found', message, { param: 'key' })
  }
  const row = await permittedKey(context, key ?? '', 'key')
  const [found] = await keyInfosOf(context.trx, [row])
  if (found === undefined) throw new TypeError('a row without an info')
  return { key: row.key_id, info: found }
}

export const list: Handlers['key.list'] = async (context, params) => {
  const { trx, actor } = context
  context.permit(['none'])
  const { page, size, user_id, team_id, key_alias, key_hash } = params
  const conditions = [await visibleTo(trx, actor)]
  if (user_id !== undefined) conditions.push(sql`k.user_id = ${user_id}`)
  if (team_id !== undefined) conditions.push(sql`k.team_id = ${team_id}`)
  if (key_alias !== undefined) conditions.push(sql`k.key_alias = ${key_alias}`)
  if (key_hash !== undefined) {
    const key = await findKey(trx, key_hash)
    conditions.push(key === null ? sql`false` : sql`k.key_id = ${key.key_id}`)
  }
  const all = sql<boolean>`(${sql.join(conditions, sql` and `)})`
  const { count } = await trx
    .selectFrom('api_key as k')
    .select(({ fn }) => fn.countAll<string>().as('count'))
    .where(all)
    .executeTakeFirstOrThrow()
  const rows = await selectKeys(trx)
    .where(all)
    .orderBy('k.created_at', 'desc')
    .orderBy('k.key_id')
    .limit(size)
    .offset((page - 1) * size)
    .execute()
  return {
    keys:
      params.return_full_object === true
        ? await keyInfosOf(trx, rows)
        : rows.map((row) => row.key_id),
    total_count: Number(count),
    current_page: page,
    total_pages: Math.ceil(Number(count) / size),
  }
}

/** The same keys that `key.info` would show one by one. */
async function visibleTo(trx: AdminTransaction, actor: Actor): Promise<RawBuilder<boolean>> {
  if (actor.role === 'master') return sql`true`
  const teams = await teamsAdministeredBy(trx, actor)
  const { keyId, userId, teamId } = actor
  const ofUser =
    teamId === null
      ? sql`k.user_id = ${userId}`
      : sql`k.user_id = ${userId} and k.team_id = ${teamId}`
  return sql`(k.key_id = ${keyId} or (${ofUser}) or k.team_id = any(${teams}::text[]))`
}

// Whose rows an actor gets to see, whatever it asks for: the master all of them; a key's holder those
// of the key and of its user, and those of the teams that the user is an admin of. A team's key sees
// those of its user within the team alone (access/relations.ts says why).
import type { Actor } from '@penstock/shared/contracts/admin'
import type { Kysely, RawBuilder } from 'kysely'
import { sql } from 'kysely'
import { teamsAdministeredBy } from '../access/relations.ts'
import type { Database } from '../database.ts'

/** Null: everything. */
export type Scope = {
  keyId: string | null
  userId: string | null
  /** The one team that the user's rows may be of; null: any, and none. */
  userTeamId: string | null
  teamIds: string[]
} | null

export async function scopeOf(db: Kysely<Database>, actor: Actor): Promise<Scope> {
  if (actor.role === 'master') return null
  const { keyId, userId, teamId: userTeamId } = actor
  return { keyId, userId, userTeamId, teamIds: await teamsAdministeredBy(db, actor) }
}

/** For a table with `key_id`, `user_id` and `team_id`. */
export function withinScope(scope: Scope): RawBuilder<boolean> {
  if (scope === null) return sql`true`
  return sql`(key_id = ${scope.keyId} or (${ofUser(scope)})
    or team_id = any(${scope.teamIds}::text[]))`
}

/** Rows of the actor's user. */
export function ofUser({ userId, userTeamId }: NonNullable<Scope>): RawBuilder<boolean> {
  const all = sql<boolean>`user_id = ${userId}`
  return userTeamId === null ? all : sql`${all} and team_id = ${userTeamId}`
}

const hashPrefix = 'hash:'

/** @returns the key's id; null: there is no such key. A deleted key is known by its id only. */
export async function keyIdOf(db: Kysely<Database>, reference: string): Promise<string | null> {
  if (!reference.startsWith(hashPrefix)) return reference
  const hash = Buffer.from(reference.slice(hashPrefix.length), 'hex')
  const row = await db
    .selectFrom('api_key')
    .select('key_id')
    .where('secret_hash', '=', hash)
    .executeTakeFirst()
  return row?.key_id ?? null
}

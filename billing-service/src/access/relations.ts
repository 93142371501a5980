// What the asker is to a key, a team or a user, for the policy. To what does not exist it is `other`:
// so a key's holder cannot find out what there is.
//
// A key that belongs to a team has no say in the other teams of its user, and sees nothing of what its
// user has outside that team: an admin of the one team, who makes keys for its members, would have the
// powers, and see the requests, of each of them everywhere.
import type { Actor } from '@penstock/shared/contracts/admin'
import type { Kysely } from 'kysely'
import type { TeamMemberTable } from '../access-tables.ts'
import type { Database } from '../database.ts'
import type { AdminTransaction } from './admin-context.ts'
import type { Relation } from './policy.ts'

export interface KeyOwner {
  key_id: string
  user_id: string | null
  team_id: string | null
}

export async function relationToKey(
  trx: AdminTransaction,
  actor: Actor,
  key: KeyOwner | null,
): Promise<Relation[]> {
  if (key === null || actor.role === 'master') return ['other']
  const held: Relation[] = []
  if (key.key_id === actor.keyId) held.push('self')
  else if (key.user_id !== null && key.user_id === actor.userId && reaches(actor, key.team_id)) {
    held.push('same-user')
  }
  if (key.team_id !== null) held.push(...(await relationToTeam(trx, actor, key.team_id)))
  return orOther(held)
}

/** A key of the team without a user is no member: it cannot be told from the others. */
export async function relationToTeam(
  trx: AdminTransaction,
  { userId, teamId: ownTeam, role }: Actor,
  teamId: string,
): Promise<Relation[]> {
  if (userId === null || role === 'master') return ['other']
  if (ownTeam !== null && ownTeam !== teamId) return ['other']
  const held = await roleIn(trx, teamId, userId)
  if (held === null) return ['other']
  return [held === 'admin' ? 'team-admin' : 'team-member']
}

/** Null: no member. */
export async function roleIn(
  trx: AdminTransaction,
  teamId: string,
  userId: string,
): Promise<TeamMemberTable['role'] | null> {
  const member = await trx
    .selectFrom('team_member')
    .select('role')
    .where('team_id', '=', teamId)
    .where('user_id', '=', userId)
    .executeTakeFirst()
  return member?.role ?? null
}

export async function relationToUser(
  trx: AdminTransaction,
  { userId, teamId, role }: Actor,
  otherId: string,
): Promise<Relation[]> {
  if (userId === null || role === 'master') return ['other']
  if (userId === otherId) return ['self']
  const rows = await trx
    .selectFrom('team_member as mine')
    .innerJoin('team_member as theirs', 'theirs.team_id', 'mine.team_id')
    .where('mine.user_id', '=', userId)
    .where('theirs.user_id', '=', otherId)
    .$if(teamId !== null, (of) => of.where('mine.team_id', '=', teamId))
    .select('mine.role')
    .distinct()
    .execute()
  return orOther(rows.map(({ role: mine }) => (mine === 'admin' ? 'team-admin' : 'team-member')))
}

/** Teams whose admin the asker is; its key's team alone, where that is of one. */
export async function teamsAdministeredBy(
  db: Kysely<Database>,
  { userId, teamId }: Actor,
): Promise<string[]> {
  if (userId === null) return []
  const rows = await db
    .selectFrom('team_member')
    .select('team_id')
    .where('user_id', '=', userId)
    .where('role', '=', 'admin')
    .$if(teamId !== null, (of) => of.where('team_id', '=', teamId))
    .execute()
  return rows.map((row) => row.team_id)
}

/** Whether the asker's key sees what its user has in the team (null: in none). */
function reaches({ teamId }: Actor, otherTeam: string | null): boolean {
  return teamId === null || teamId === otherTeam
}

function orOther(held: Relation[]): Relation[] {
  const known = held.filter((relation) => relation !== 'other')
  return known.length === 0 ? ['other'] : known
}

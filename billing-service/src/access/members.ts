// The members of teams: the admin operations that add, change and remove them.
import type {
  MemberBudgetFields,
  MemberField,
  teamOperations,
} from '@penstock/shared/contracts/admin/teams'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { TeamMemberTable } from '../access-tables.ts'
import { writeAccounts } from './accounts-of.ts'
import type { AdminContext, AdminTransaction, HandlersOf } from './admin-context.ts'
import { deleteKeys } from './key-delete.ts'
import { selectKeys } from './key-row.ts'
import { relationToTeam, roleIn } from './relations.ts'
import { retireAccounts } from './retire-accounts.ts'
import { existingTeam, memberOwner, membershipsOf, teamReplyOf } from './team-views.ts'
import { type GivenUser, knownOrNewUser, userIdWithEmail } from './user-identity.ts'

type Handlers = HandlersOf<typeof teamOperations>
type Role = TeamMemberTable['role']

export const memberAdd: Handlers['team.member_add'] = async (context, params) => {
  const { trx, actor, permit } = context
  const { team_id: teamId, member: members, ...budget } = params
  permit(await relationToTeam(trx, actor, teamId))
  await existingTeam(trx, teamId, 'team_id')
  const added: string[] = []
  for (const [index, member] of members.entries()) {
    added.push(await addMember(context, teamId, member, budget, `member[${index}]`))
  }
  const team = await teamReplyOf(trx, teamId)
  return { ...team, updated_team_memberships: await membershipsOf(trx, teamId, added) }
}

export const memberUpdate: Handlers['team.member_update'] = async (context, params) => {
  const { trx, actor, permit, audit } = context
  const { team_id: teamId, user_id: userId, role: newRole, ...budget } = params
  permit(await relationToTeam(trx, actor, teamId))
  const wasRole = await existingRole(trx, teamId, userId)
  const before = await memberReplyOf(trx, teamId, userId, wasRole)
  const role = newRole ?? wasRole
  await trx
    .updateTable('team_member')
    .set({ role })
    .where('team_id', '=', teamId)
    .where('user_id', '=', userId)
    .execute()
  await writeMemberAccount(context, teamId, userId, budget)
  const after = await memberReplyOf(trx, teamId, userId, role)
  await audit({ kind: 'member', id: memberOwner(teamId, userId), before, after })
  return after
}

/** Its keys are of the team, which it is no longer in: they go with it. */
export const memberDelete: Handlers['team.member_delete'] = async (context, params) => {
  const { trx, actor, permit, audit } = context
  const { team_id: teamId } = params
  permit(await relationToTeam(trx, actor, teamId))
  await existingTeam(trx, teamId, 'team_id')
  const userId = await namedUser(trx, params)
  const role = await existingRole(trx, teamId, userId)
  const before = await memberReplyOf(trx, teamId, userId, role)
  const keys = selectKeys(trx).where('k.team_id', '=', teamId).where('k.user_id', '=', userId)
  await deleteKeys(context, await keys.execute())
  await trx
    .deleteFrom('team_member')
    .where('team_id', '=', teamId)
    .where('user_id', '=', userId)
    .execute()
  await retireAccounts(trx, 'member', [memberOwner(teamId, userId)])
  await audit({ kind: 'member', id: memberOwner(teamId, userId), before, after: null })
  return teamReplyOf(trx, teamId)
}

/**
 * For whoever has asked for permission. The team is there.
 * @param param the place of the member in the request
 * @returns the member's user id
 * @throws PenstockError `conflict` for one who is in the team already
 */
export async function addMember(
  context: AdminContext,
  teamId: string,
  { role, ...given }: MemberField,
  budget: MemberBudgetFields,
  param: string,
): Promise<string> {
  const { trx, audit } = context
  const userId = await knownOrNewUser(context, given, param)
  const made = await trx
    .insertInto('team_member')
    .values({ team_id: teamId, user_id: userId, role })
    .onConflict((conflict) => conflict.doNothing())
    .returning('user_id')
    .executeTakeFirst()
  if (made === undefined) {
    const message = `${userId} is in the team ${teamId} already.`
    throw new PenstockError('conflict', message, { param: `${param}.user_id` })
  }
  await writeMemberAccount(context, teamId, userId, budget)
  const after = await memberReplyOf(trx, teamId, userId, role)
  await audit({ kind: 'member', id: memberOwner(teamId, userId), before: null, after })
  return userId
}

/** A member without a budget of its own needs no account before it spends. */
async function writeMemberAccount(
  { trx, timezone }: AdminContext,
  teamId: string,
  userId: string,
  { max_budget_in_team: maxBudget, ...budget }: MemberBudgetFields,
): Promise<void> {
  const given = { ...budget, max_budget: maxBudget }
  if (Object.values(given).every((value) => value === undefined)) return
  const holder = { kind: 'member', owner: memberOwner(teamId, userId) } as const
  await writeAccounts(trx, holder, given, null, timezone)
}

async function memberReplyOf(trx: AdminTransaction, teamId: string, userId: string, role: Role) {
  const [membership] = await membershipsOf(trx, teamId, [userId])
  if (membership === undefined) throw new TypeError('one member gave no membership')
  return { ...membership, role }
}

/** @throws PenstockError `invalid_request` or `not_found` naming the parameter */
async function namedUser(trx: AdminTransaction, given: GivenUser): Promise<string> {
  const { user_id: userId = null, user_email: email = null } = given
  if (userId !== null) return userId
  if (email === null) {
    const message = 'Invalid request: user_id: expected a user_id or a user_email'
    throw new PenstockError('invalid_request', message, { param: 'user_id' })
  }
  const known = await userIdWithEmail(trx, email)
  if (known !== null) return known
  throw new PenstockError('not_found', 'No user has this address.', { param: 'user_email' })
}

/** @throws PenstockError `not_found` naming user_id for who is no member */
async function existingRole(trx: AdminTransaction, teamId: string, userId: string): Promise<Role> {
  const role = await roleIn(trx, teamId, userId)
  if (role !== null) return role
  const message = `${userId} is no member of the team ${teamId}.`
  throw new PenstockError('not_found', message, { param: 'user_id' })
}

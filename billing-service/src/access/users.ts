// The admin operations that change users.
import { randomUUID } from 'node:crypto'
import type { UserFields, UserReply, userOperations } from '@penstock/shared/contracts/admin/users'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import { writeAccounts } from './accounts-of.ts'
import { type AdminContext, type HandlersOf, nameOf } from './admin-context.ts'
import { deleteKeys } from './key-delete.ts'
import { createKey } from './key-generate.ts'
import { selectKeys } from './key-row.ts'
import { columnsOf, given } from './limit-columns.ts'
import { addMember } from './members.ts'
import { retireAccounts } from './retire-accounts.ts'
import { existingTeam, memberOwner } from './team-views.ts'
import { checkEmail } from './user-identity.ts'
import { info, list } from './user-info.ts'
import { existingUser, userReplyOf } from './user-views.ts'

type Handlers = HandlersOf<typeof userOperations>

const create: Handlers['user.new'] = async (context, params) => {
  const { trx, actor, permit, audit, timezone } = context
  permit(['none'])
  const {
    user_id: givenId,
    auto_create_key: withKey,
    key: _,
    teams,
    team_id: teamId = null,
    key_alias,
    duration,
    aliases,
    ...fields
  } = params
  const userId = givenId ?? randomUUID()
  await checkEmail(trx, fields.user_email, userId)
  await writeAccounts(trx, { kind: 'user', owner: userId }, fields, null, timezone)
  const made = await trx
    .insertInto('app_user')
    .values({ ...userColumns(fields, {}), user_id: userId, created_by: nameOf(actor) })
    .onConflict((conflict) => conflict.column('user_id').doNothing())
    .returning('user_id')
    .executeTakeFirst()
  if (made === undefined) {
    const message = `There is a user ${userId} already.`
    throw new PenstockError('conflict', message, { param: 'user_id' })
  }
  await audit({ kind: 'user', id: userId, before: null, after: await userReplyOf(trx, userId) })
  await joinTeams(context, userId, teams ?? [], teamId)
  const key = withKey
    ? await createKey(context, { user_id: userId, team_id: teamId, key_alias, duration, aliases })
    : null
  return {
    ...(await userReplyOf(trx, userId)),
    token: key?.token ?? null,
    key_name: key?.key_name ?? null,
    key_alias: key?.key_alias ?? null,
    expires: key?.expires ?? null,
  }
}

type Joined = NonNullable<Parameters<typeof create>[1]['teams']>[number]

/** @throws PenstockError `not_found` naming the team; `conflict` for one that is named twice */
async function joinTeams(
  context: AdminContext,
  userId: string,
  teams: readonly Joined[],
  teamOfKey: string | null,
): Promise<void> {
  const { trx } = context
  for (const [index, { team_id: teamId, user_role: role, ...budget }] of teams.entries()) {
    const param = `teams[${index}]`
    await existingTeam(trx, teamId, `${param}.team_id`)
    await addMember(context, teamId, { role, user_id: userId }, budget, param)
  }
  if (teamOfKey === null || teams.some((team) => team.team_id === teamOfKey)) return
  await existingTeam(trx, teamOfKey, 'team_id')
  await addMember(context, teamOfKey, { role: 'user', user_id: userId }, {}, 'team_id')
}

const update: Handlers['user.update'] = async (context, { user_id: userId, ...fields }) => {
  const { trx, permit, audit, timezone } = context
  permit(['none'])
  const row = await existingUser(trx, userId, 'user_id')
  const before = await userReplyOf(trx, userId)
  await checkEmail(trx, fields.user_email, userId)
  await writeAccounts(trx, { kind: 'user', owner: userId }, fields, row.budget_id, timezone)
  await trx
    .updateTable('app_user')
    .set({ ...userColumns(fields, row.model_limits), updated_at: sql<Date>`now()` })
    .where('user_id', '=', userId)
    .execute()
  const after: UserReply = await userReplyOf(trx, userId)
  await audit({ kind: 'user', id: userId, before, after })
  return { user_id: userId, data: after }
}

/** All or none; keys that the user has, in whatever team, go with it. */
const remove: Handlers['user.delete'] = async (context, { user_ids: userIds }) => {
  const { trx, permit, audit } = context
  permit(['none'])
  let deletedKeys = 0
  for (const userId of new Set(userIds)) {
    await existingUser(trx, userId, 'user_ids')
    const before = await userReplyOf(trx, userId)
    const keys = await selectKeys(trx).where('k.user_id', '=', userId).execute()
    await deleteKeys(context, keys)
    deletedKeys += keys.length
    const memberships = before.teams.map((teamId) => memberOwner(teamId, userId))
    await retireAccounts(trx, 'member', memberships)
    await retireAccounts(trx, 'user', [userId])
    await trx.deleteFrom('app_user').where('user_id', '=', userId).execute()
    await audit({ kind: 'user', id: userId, before, after: null })
  }
  return { deleted_users: [...new Set(userIds)], deleted_keys: deletedKeys }
}

export const userHandlers: Handlers = {
  'user.new': create,
  'user.info': info,
  'user.update': update,
  'user.delete': remove,
  'user.list': list,
}

function userColumns(fields: UserFields, modelLimits: Parameters<typeof columnsOf>[1]) {
  const { user_alias, user_email, user_role: role } = fields
  const user_role = role === null ? 'internal_user' : role
  return { ...columnsOf(fields, modelLimits), ...given({ user_alias, user_email, user_role }) }
}

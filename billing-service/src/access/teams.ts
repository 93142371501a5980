// The admin operations that change teams.
import { randomUUID } from 'node:crypto'
import type { TeamFields, TeamReply, teamOperations } from '@penstock/shared/contracts/admin/teams'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import { writeAccounts } from './accounts-of.ts'
import { type AdminContext, type HandlersOf, nameOf } from './admin-context.ts'
import { deleteKeys } from './key-delete.ts'
import { selectKeys } from './key-row.ts'
import { columnsOf, given } from './limit-columns.ts'
import { addMember, memberAdd, memberDelete, memberUpdate } from './members.ts'
import { retireAccounts } from './retire-accounts.ts'
import { info, list } from './team-info.ts'
import { existingTeam, memberOwner, teamReplyOf } from './team-views.ts'

type Handlers = HandlersOf<typeof teamOperations>

const create: Handlers['team.new'] = async (context, params) => {
  const { trx, actor, permit, timezone } = context
  permit(['none'])
  const { team_id: givenId, members_with_roles: members, ...fields } = params
  const teamId = givenId ?? randomUUID()
  await writeAccounts(trx, { kind: 'team', owner: teamId }, fields, null, timezone)
  const made = await trx
    .insertInto('team')
    .values({ ...teamColumns(fields, {}), team_id: teamId, created_by: nameOf(actor) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('team_id')
    .executeTakeFirst()
  if (made === undefined) {
    const message = `There is a team ${teamId} already.`
    throw new PenstockError('conflict', message, { param: 'team_id' })
  }
  await auditTeam(context, teamId, null, await teamReplyOf(trx, teamId))
  for (const [index, member] of (members ?? []).entries()) {
    await addMember(context, teamId, member, {}, `members_with_roles[${index}]`)
  }
  return teamReplyOf(trx, teamId)
}

const update: Handlers['team.update'] = async (context, { team_id: teamId, ...fields }) => {
  context.permit(['none'])
  return { team_id: teamId, data: await change(context, teamId, fields) }
}

const block: Handlers['team.block'] = (context, { team_id: teamId }) => {
  context.permit(['none'])
  return change(context, teamId, { blocked: true })
}

const unblock: Handlers['team.unblock'] = (context, { team_id: teamId }) => {
  context.permit(['none'])
  return change(context, teamId, { blocked: false })
}

/** All or none; keys that the team has go with it. */
const remove: Handlers['team.delete'] = async (context, { team_ids: teamIds }) => {
  const { trx, permit } = context
  permit(['none'])
  let deletedKeys = 0
  for (const teamId of new Set(teamIds)) {
    await existingTeam(trx, teamId, 'team_ids')
    const before = await teamReplyOf(trx, teamId)
    const keys = await selectKeys(trx).where('k.team_id', '=', teamId).execute()
    await deleteKeys(context, keys)
    deletedKeys += keys.length
    const members = await trx
      .selectFrom('team_member')
      .select('user_id')
      .where('team_id', '=', teamId)
      .execute()
    const owners = members.map((member) => memberOwner(teamId, member.user_id))
    await retireAccounts(trx, 'member', owners)
    await retireAccounts(trx, 'team', [teamId])
    await trx.deleteFrom('team').where('team_id', '=', teamId).execute()
    await auditTeam(context, teamId, before, null)
  }
  return { deleted_teams: [...new Set(teamIds)], deleted_keys: deletedKeys }
}

export const teamHandlers: Handlers = {
  'team.new': create,
  'team.info': info,
  'team.update': update,
  'team.delete': remove,
  'team.list': list,
  'team.member_add': memberAdd,
  'team.member_update': memberUpdate,
  'team.member_delete': memberDelete,
  'team.block': block,
  'team.unblock': unblock,
}

async function change(
  context: AdminContext,
  teamId: string,
  fields: TeamFields,
): Promise<TeamReply> {
  const { trx, timezone } = context
  const row = await existingTeam(trx, teamId, 'team_id')
  const before = await teamReplyOf(trx, teamId)
  await writeAccounts(trx, { kind: 'team', owner: teamId }, fields, row.budget_id, timezone)
  await trx
    .updateTable('team')
    .set({ ...teamColumns(fields, row.model_limits), updated_at: sql<Date>`now()` })
    .where('team_id', '=', teamId)
    .execute()
  const after = await teamReplyOf(trx, teamId)
  await auditTeam(context, teamId, before, after)
  return after
}

function teamColumns(fields: TeamFields, modelLimits: Parameters<typeof columnsOf>[1]) {
  const { team_alias, organization_id, model_aliases: aliases } = fields
  return {
    ...columnsOf(fields, modelLimits),
    ...given({
      team_alias,
      organization_id,
      aliases: aliases === undefined ? undefined : JSON.stringify(aliases ?? {}),
    }),
  }
}

/** Members have entries of their own. */
async function auditTeam(
  { audit }: AdminContext,
  id: string,
  before: TeamReply | null,
  after: TeamReply | null,
): Promise<void> {
  await audit({ kind: 'team', id, before: withoutMembers(before), after: withoutMembers(after) })
}

function withoutMembers(team: TeamReply | null) {
  if (team === null) return null
  const { members_with_roles: _members, members_count: _count, ...rest } = team
  return rest
}

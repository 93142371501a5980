// The admin operations that show teams: one with its keys and members, or all that the asker may
// see.
import type { teamOperations } from '@penstock/shared/contracts/admin/teams'
import type { AdminContext, HandlersOf } from './admin-context.ts'
import { keysShown } from './keys-shown.ts'
import { relationToTeam, teamsAdministeredBy } from './relations.ts'
import {
  existingTeam,
  isMember,
  membershipsOf,
  selectTeams,
  type TeamRow,
  teamAsSeenBy,
  teamRepliesOf,
} from './team-views.ts'
import { wholeList, windowOf } from './whole-list.ts'

type Handlers = HandlersOf<typeof teamOperations>

export const info: Handlers['team.info'] = async (context, params) => {
  const { trx, actor, permit } = context
  const { team_id: teamId, key_limit: keyLimit } = params
  const held = await relationToTeam(trx, actor, teamId)
  permit(held)
  const row = await existingTeam(trx, teamId, 'team_id')
  const [team] = await visibleTeams(context, [row])
  if (team === undefined) throw new TypeError('one team gave no reply')
  const shown = team.members_with_roles.map((member) => member.user_id)
  const isManager = actor.role === 'master' || held.includes('team-admin')
  return {
    team_id: teamId,
    team_info: team,
    ...(await keysShown(context, { team_id: teamId }, isManager, keyLimit)),
    team_memberships: await membershipsOf(trx, teamId, shown),
  }
}

/** To a key's holder: the teams that its user is in; to a team's key that team alone. */
export const list: Handlers['team.list'] = async (context, params) => {
  const { trx, actor, permit } = context
  permit(['none'])
  const { user_id: userId, organization_id: organizationId } = params
  const { limit, offset } = windowOf(params)
  let select = selectTeams(trx)
  if (actor.role !== 'master') {
    // Who else is in a team, only its admins are told.
    const isOther = userId !== undefined && userId !== actor.userId
    select = select.where(isMember(actor.userId, isOther ? ['admin'] : undefined))
    if (actor.teamId !== null) select = select.where('t.team_id', '=', actor.teamId)
  }
  if (userId !== undefined) select = select.where(isMember(userId))
  if (organizationId !== undefined) {
    select = select.where('t.organization_id', '=', organizationId)
  }
  const found = select.orderBy('t.created_at', 'desc').orderBy('t.team_id')
  const rows = await found.limit(limit).offset(offset).execute()
  return visibleTeams(context, wholeList(rows, params))
}

export async function visibleTeams({ trx, actor }: AdminContext, rows: readonly TeamRow[]) {
  const administered = new Set(await teamsAdministeredBy(trx, actor))
  const teams = await teamRepliesOf(trx, rows)
  return teams.map((team) => teamAsSeenBy(actor, administered, team))
}

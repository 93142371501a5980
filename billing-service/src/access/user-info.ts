// The admin operations that show users: one with its keys and teams, or all.
import type { Actor } from '@penstock/shared/contracts/admin'
import type { UserReply, userOperations } from '@penstock/shared/contracts/admin/users'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import type { HandlersOf } from './admin-context.ts'
import { keysShown } from './keys-shown.ts'
import { relationToUser } from './relations.ts'
import { visibleTeams } from './team-info.ts'
import { isMember, selectTeams } from './team-views.ts'
import { existingUser, selectUsers, userRepliesOf, userReplyOf } from './user-views.ts'

type Handlers = HandlersOf<typeof userOperations>

const maxTeamsShown = 100

/** A team's key does not see in which other teams its user is (relations.ts). */
function userAsSeenBy({ role, teamId }: Actor, user: UserReply): UserReply {
  if (role === 'master' || teamId === null) return user
  return { ...user, teams: user.teams.filter((team) => team === teamId) }
}

export const info: Handlers['user.info'] = async (context, params) => {
  const { trx, actor, permit } = context
  const userId = params.user_id ?? (actor.role === 'master' ? null : actor.userId)
  if (userId === null) {
    permit(['self'])
    const message = "Invalid request: user_id: this key is no user's: say which one."
    throw new PenstockError('invalid_request', message, { param: 'user_id' })
  }
  permit(await relationToUser(trx, actor, userId))
  await existingUser(trx, userId, 'user_id')
  let teams = selectTeams(trx).where(isMember(userId)).orderBy('t.team_id').limit(maxTeamsShown)
  if (actor.role !== 'master' && actor.teamId !== null) {
    teams = teams.where('t.team_id', '=', actor.teamId)
  }
  return {
    user_id: userId,
    user_info: userAsSeenBy(actor, await userReplyOf(trx, userId)),
    ...(await keysShown(context, { user_id: userId }, true, params.key_limit)),
    teams: await visibleTeams(context, await teams.execute()),
  }
}

export const list: Handlers['user.list'] = async ({ trx, permit }, params) => {
  permit(['none'])
  const { user_ids: ids, user_email: email, page, page_size: size } = params
  let select = selectUsers(trx)
  if (ids !== undefined) select = select.where('u.user_id', 'in', ids.split(','))
  if (email !== undefined) {
    select = select.where(sql`position(lower(${email}) in lower(u.user_email))`, '>', 0)
  }
  const { total } = await select
    .clearSelect()
    .select(sql<number>`count(*)::int`.as('total'))
    .executeTakeFirstOrThrow()
  const rows = await select
    .orderBy('u.created_at', 'desc')
    .orderBy('u.user_id')
    .limit(size)
    .offset((page - 1) * size)
    .execute()
  return {
    users: await userRepliesOf(trx, rows),
    total,
    page,
    page_size: size,
    total_pages: Math.ceil(total / size),
  }
}

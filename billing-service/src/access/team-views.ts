// Teams and memberships as the admin API shows them.

import type { Actor } from '@penstock/shared/contracts/admin'
import type { MembershipReply, TeamReply } from '@penstock/shared/contracts/admin/teams'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type SqlBool, sql } from 'kysely'
import type { TeamMemberTable } from '../access-tables.ts'
import type { AdminTransaction } from './admin-context.ts'
import { type BudgetStanding, standingsOf } from './budget-standing.ts'
import { holderReplyOf, ratesOf } from './limit-columns.ts'

const maxMembersShown = 500

/** With the limits of the budget that it names where it has none of its own. */
export function selectTeams(trx: AdminTransaction) {
  return trx
    .selectFrom('team as t')
    .leftJoin('budget as b', 'b.budget_id', 't.budget_id')
    .selectAll('t')
    .select(({ fn }) => [
      fn.coalesce('t.rpm_limit', 'b.rpm_limit').as('rpm_limit'),
      fn.coalesce('t.tpm_limit', 'b.tpm_limit').as('tpm_limit'),
      fn.coalesce('t.max_parallel_requests', 'b.max_parallel_requests').as('max_parallel_requests'),
    ])
}

export type TeamRow = Awaited<ReturnType<ReturnType<typeof selectTeams>['execute']>>[number]

/** @throws PenstockError `not_found` naming the parameter */
export async function existingTeam(
  trx: AdminTransaction,
  teamId: string,
  param: string,
): Promise<TeamRow> {
  const row = await selectTeams(trx).where('t.team_id', '=', teamId).executeTakeFirst()
  if (row !== undefined) return row
  throw new PenstockError('not_found', `There is no team ${teamId}.`, { param })
}

/** In the order of the rows. */
export async function teamRepliesOf(
  trx: AdminTransaction,
  rows: readonly TeamRow[],
): Promise<TeamReply[]> {
  const ids = rows.map((row) => row.team_id)
  const standingOf = await standingsOf(trx, 'team', ids)
  const members = Map.groupBy(await membersOf(trx, ids), (member) => member.team_id)
  return rows.map((row) => {
    const own = members.get(row.team_id) ?? []
    return {
      team_id: row.team_id,
      team_alias: row.team_alias,
      organization_id: row.organization_id,
      model_aliases: row.aliases,
      members_with_roles: own.map(({ user_id, user_email, role }) => ({
        user_id,
        user_email,
        role,
      })),
      members_count: Number(own[0]?.members_count ?? 0),
      ...holderReplyOf(row),
      ...ratesOf(row),
      ...standingOf(row.team_id),
    }
  })
}

export async function teamReplyOf(trx: AdminTransaction, teamId: string): Promise<TeamReply> {
  const [reply] = await teamRepliesOf(trx, [await existingTeam(trx, teamId, 'team_id')])
  if (reply === undefined) throw new TypeError('one team gave no reply')
  return reply
}

type Role = TeamMemberTable['role']

interface MemberRow {
  team_id: string
  user_id: string
  user_email: string | null
  role: Role
  members_count: string
}

async function membersOf(trx: AdminTransaction, teamIds: readonly string[]) {
  const { rows } = await sql<MemberRow>`
    select * from (
      select team_id, user_id, user_email, role, count(*) over team as members_count,
        row_number() over (team order by user_id) as place
      from team_member join app_user using (user_id)
      where team_id = any(${teamIds}::text[])
      window team as (partition by team_id)
    ) as members
    where place <= ${maxMembersShown}
    order by team_id, place`.execute(trx)
  return rows
}

/** How members stand in a team: of those that are given. */
export async function membershipsOf(
  trx: AdminTransaction,
  teamId: string,
  userIds: readonly string[],
): Promise<MembershipReply[]> {
  const owners = userIds.map((userId) => memberOwner(teamId, userId))
  const standingOf = await standingsOf(trx, 'member', owners)
  return userIds.map((userId) => {
    const standing = standingOf(memberOwner(teamId, userId))
    return {
      user_id: userId,
      team_id: teamId,
      spend: standing.spend,
      tokens_spent: standing.tokens_spent,
      litellm_budget_table: memberBudgetOf(standing),
    }
  })
}

function memberBudgetOf(standing: BudgetStanding): MembershipReply['litellm_budget_table'] {
  const { max_budget, max_tokens_budget } = standing
  if (max_budget === null && max_tokens_budget === null) return null
  const { budget_duration, budget_timezone, budget_reset_at } = standing
  return { max_budget, max_tokens_budget, budget_duration, budget_timezone, budget_reset_at }
}

/** The owner of a member's account. A team's id holds no slash. */
export function memberOwner(teamId: string, userId: string): string {
  return `${teamId}/${userId}`
}

/** Of a team in `selectTeams`. */
export function isMember(userId: string | null, roles: readonly Role[] = ['admin', 'user']) {
  return sql<SqlBool>`exists (
    select from team_member as m where m.team_id = t.team_id and m.user_id = ${userId}
      and m.role = any(${roles}::text[]))`
}

/** A plain member does not see who else is in its team. */
export function teamAsSeenBy(
  { role, userId }: Actor,
  administered: ReadonlySet<string>,
  team: TeamReply,
): TeamReply {
  if (role === 'master' || administered.has(team.team_id)) return team
  const own = team.members_with_roles.filter((member) => member.user_id === userId)
  return { ...team, members_with_roles: own }
}

// Users as the admin API shows them.
import type { UserReply } from '@penstock/shared/contracts/admin/users'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import type { AdminTransaction } from './admin-context.ts'
import { standingsOf } from './budget-standing.ts'
import { holderReplyOf, ratesOf } from './limit-columns.ts'

/** With the limits of the budget that it names where it has none of its own. */
export function selectUsers(trx: AdminTransaction) {
  return trx
    .selectFrom('app_user as u')
    .leftJoin('budget as b', 'b.budget_id', 'u.budget_id')
    .selectAll('u')
    .select(({ fn }) => [
      fn.coalesce('u.rpm_limit', 'b.rpm_limit').as('rpm_limit'),
      fn.coalesce('u.tpm_limit', 'b.tpm_limit').as('tpm_limit'),
      fn.coalesce('u.max_parallel_requests', 'b.max_parallel_requests').as('max_parallel_requests'),
    ])
    .select(
      sql<string[]>`array(
        select m.team_id from team_member as m where m.user_id = u.user_id order by m.team_id
      )`.as('teams'),
    )
}

export type UserRow = Awaited<ReturnType<ReturnType<typeof selectUsers>['execute']>>[number]

/** @throws PenstockError `not_found` naming the parameter */
export async function existingUser(
  trx: AdminTransaction,
  userId: string,
  param: string,
): Promise<UserRow> {
  const row = await selectUsers(trx).where('u.user_id', '=', userId).executeTakeFirst()
  if (row !== undefined) return row
  throw new PenstockError('not_found', `There is no user ${userId}.`, { param })
}

/** In the order of the rows. */
export async function userRepliesOf(
  trx: AdminTransaction,
  rows: readonly UserRow[],
): Promise<UserReply[]> {
  const ids = rows.map((row) => row.user_id)
  const standingOf = await standingsOf(trx, 'user', ids)
  return rows.map((row) => ({
    user_id: row.user_id,
    user_alias: row.user_alias,
    user_email: row.user_email,
    user_role: row.user_role,
    teams: row.teams,
    ...holderReplyOf(row),
    ...ratesOf(row),
    ...standingOf(row.user_id),
  }))
}

export async function userReplyOf(trx: AdminTransaction, userId: string): Promise<UserReply> {
  const [reply] = await userRepliesOf(trx, [await existingUser(trx, userId, 'user_id')])
  if (reply === undefined) throw new TypeError('one user gave no reply')
  return reply
}

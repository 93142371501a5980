// Which user is meant: by its id, or by the address that no two users have.
import { randomUUID } from 'node:crypto'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import { type AdminContext, type AdminTransaction, nameOf } from './admin-context.ts'

export interface GivenUser {
  user_id?: string | null | undefined
  user_email?: string | null | undefined
}

/** Addresses are compared without regard to case. */
export async function userIdWithEmail(
  trx: AdminTransaction,
  email: string,
): Promise<string | null> {
  const found = await trx
    .selectFrom('app_user')
    .select('user_id')
    .where(sql`lower(user_email)`, '=', sql`lower(${email})`)
    .executeTakeFirst()
  return found?.user_id ?? null
}

/** @throws PenstockError `conflict` if another user has the address */
export async function checkEmail(
  trx: AdminTransaction,
  email: string | null | undefined,
  userId: string,
  param = 'user_email',
): Promise<void> {
  const holder = email === null || email === undefined ? null : await userIdWithEmail(trx, email)
  if (holder === null || holder === userId) return
  throw new PenstockError('conflict', `Another user has the address ${email}.`, { param })
}

/**
 * As LiteLLM does: a user that is not known yet is made. The address of one that is known stays as
 * it is: whoever may add members may not change users.
 * @param param the place of the member in the request
 * @throws PenstockError `conflict` if the address is another user's
 */
export async function knownOrNewUser(
  { trx, actor, audit }: AdminContext,
  { user_id: givenId, user_email: email = null }: GivenUser,
  param: string,
): Promise<string> {
  const known = email === null ? null : await userIdWithEmail(trx, email)
  const userId = givenId ?? known ?? randomUUID()
  await checkEmail(trx, email, userId, `${param}.user_email`)
  const made = await trx
    .insertInto('app_user')
    .values({ user_id: userId, user_email: email, created_by: nameOf(actor) })
    .onConflict((conflict) => conflict.column('user_id').doNothing())
    .returning(['user_id', 'user_email'])
    .executeTakeFirst()
  if (made !== undefined) await audit({ kind: 'user', id: userId, before: null, after: made })
  return userId
}

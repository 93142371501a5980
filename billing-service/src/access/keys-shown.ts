// The keys that the views of teams and users show with them: the newest, and how many there are.
import type { KeyInfo } from '@penstock/shared/contracts/admin/keys'
import { sql } from 'kysely'
import type { AdminContext } from './admin-context.ts'
import { keyInfosOf, selectKeys } from './key-row.ts'

type Owner = { team_id: string } | { user_id: string }

/**
 * Never more of its user than the asker's key may see (relations.ts).
 * @param all false: only the asker's own key, and others of its user
 * @param limit keys at most; `keys_count` counts all that may be seen
 */
export async function keysShown(
  { trx, actor }: AdminContext,
  owner: Owner,
  all: boolean,
  limit: number,
): Promise<{ keys: KeyInfo[]; keys_count: number }> {
  let select = selectKeys(trx)
  select =
    'team_id' in owner
      ? select.where('k.team_id', '=', owner.team_id)
      : select.where('k.user_id', '=', owner.user_id)
  const { role, teamId } = actor
  if (role !== 'master' && teamId !== null) select = select.where('k.team_id', '=', teamId)
  if (!all) {
    select = select.where((eb) =>
      eb.or([eb('k.key_id', '=', actor.keyId ?? ''), eb('k.user_id', '=', actor.userId ?? '')]),
    )
  }
  const newest = select.orderBy('k.created_at', 'desc').orderBy('k.key_id').limit(limit)
  const counted = await select
    .clearSelect()
    .select(sql<number>`count(*)::int`.as('count'))
    .executeTakeFirstOrThrow()
  return { keys: await keyInfosOf(trx, await newest.execute()), keys_count: counted.count }
}

// Rows of keys as the admin API shows them. The keyed hash is never selected.
import type { KeyInfo } from '@penstock/shared/contracts/admin/keys'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import type { AdminContext, AdminTransaction } from './admin-context.ts'
import { standingsOf } from './budget-standing.ts'
import { holderReplyOf, ratesOf } from './limit-columns.ts'
import { relationToKey } from './relations.ts'

/** With the limits of the budget that it names where it has none of its own. */
export function selectKeys(trx: AdminTransaction) {
  return trx
    .selectFrom('api_key as k')
    .leftJoin('budget as b', 'b.budget_id', 'k.budget_id')
    .select([
      'k.key_id',
      'k.key_name',
      'k.key_alias',
      'k.user_id',
      'k.team_id',
      'k.expires_at',
      'k.aliases',
      'k.budget_id',
      'k.models',
      'k.tags',
      'k.metadata',
      'k.blocked',
      'k.model_limits',
      'k.store_prompts',
      'k.created_at',
      'k.created_by',
      'k.updated_at',
    ])
    .select(({ fn }) => [
      fn.coalesce('k.rpm_limit', 'b.rpm_limit').as('rpm_limit'),
      fn.coalesce('k.tpm_limit', 'b.tpm_limit').as('tpm_limit'),
      fn.coalesce('k.max_parallel_requests', 'b.max_parallel_requests').as('max_parallel_requests'),
    ])
}

export type KeyRow = Awaited<ReturnType<ReturnType<typeof selectKeys>['execute']>>[number]

/** @param reference `hash:<hex>`, or a key's id */
export async function findKey(trx: AdminTransaction, reference: string): Promise<KeyRow | null> {
  const hash = /^hash:([0-9a-f]{64})$/.exec(reference)?.[1]
  const found = selectKeys(trx)
  const one =
    hash === undefined
      ? found.where('k.key_id', '=', reference)
      : found.where('k.secret_hash', '=', sql<Buffer>`decode(${hash}, 'hex')`)
  return (await one.executeTakeFirst()) ?? null
}

/** @throws PenstockError `permission_denied`, `not_found` naming the parameter */
export async function permittedKey(
  context: AdminContext,
  reference: string,
  param: string,
): Promise<KeyRow> {
  const { trx, actor } = context
  const key = await findKey(trx, reference)
  context.permit(await relationToKey(trx, actor, key))
  if (key === null) throw new PenstockError('not_found', 'There is no such key.', { param })
  return key
}

/** In the order of the rows. */
export async function keyInfosOf(
  trx: AdminTransaction,
  rows: readonly KeyRow[],
): Promise<KeyInfo[]> {
  const standingOf = await standingsOf(
    trx,
    'key',
    rows.map((row) => row.key_id),
  )
  return rows.map((row) => ({
    token: row.key_id,
    key_name: row.key_name,
    key_alias: row.key_alias,
    user_id: row.user_id,
    team_id: row.team_id,
    expires: row.expires_at?.toISOString() ?? null,
    aliases: row.aliases,
    ...holderReplyOf(row),
    ...ratesOf(row),
    ...standingOf(row.key_id),
  }))
}

/** @throws TypeError if there is no such key: whoever asks has just had its row */
export async function keyInfoOf(trx: AdminTransaction, keyId: string): Promise<KeyInfo> {
  const row = await findKey(trx, keyId)
  const [info] = row === null ? [] : await keyInfosOf(trx, [row])
  if (info === undefined) throw new TypeError('the key has vanished within its transaction')
  return info
}

// Deletes keys. What they spent stays in the ledger and in their accounts, which have no limits then.
import type { keyOperations } from '@penstock/shared/contracts/admin/keys'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { AdminContext, HandlersOf } from './admin-context.ts'
import { type KeyRow, keyInfosOf, permittedKey, selectKeys } from './key-row.ts'
import { relationToKey } from './relations.ts'
import { retireAccounts } from './retire-accounts.ts'

export const remove: HandlersOf<typeof keyOperations>['key.delete'] = async (context, params) => {
  const { keys: references, key_aliases: aliases } = params
  const rows = new Map<string, KeyRow>()
  for (const reference of references ?? []) {
    const row = await permittedKey(context, reference, 'keys')
    rows.set(row.key_id, row)
  }
  for (const alias of aliases ?? []) {
    const row = await permittedAlias(context, alias)
    rows.set(row.key_id, row)
  }
  if (rows.size === 0) {
    const message = 'Invalid request: keys: say which keys, or give their key_aliases.'
    throw new PenstockError('invalid_request', message, { param: 'keys' })
  }
  await deleteKeys(context, [...rows.values()])
  return { deleted_keys: [...rows.keys()] }
}

/** For whoever has asked for permission, as the deletion of a team does. */
export async function deleteKeys(context: AdminContext, rows: readonly KeyRow[]): Promise<void> {
  const { trx } = context
  const infos = await keyInfosOf(trx, rows)
  for (const info of infos) {
    await trx.deleteFrom('api_key').where('key_id', '=', info.token).execute()
    await context.audit({ kind: 'key', id: info.token, before: info, after: null })
  }
  await retireAccounts(
    trx,
    'key',
    rows.map((row) => row.key_id),
  )
}

async function permittedAlias(context: AdminContext, alias: string): Promise<KeyRow> {
  const { trx, actor } = context
  const row = (await selectKeys(trx).where('k.key_alias', '=', alias).executeTakeFirst()) ?? null
  context.permit(await relationToKey(trx, actor, row))
  if (row !== null) return row
  const message = `There is no key with the key_alias ${alias}.`
  throw new PenstockError('not_found', message, { param: 'key_aliases' })
}

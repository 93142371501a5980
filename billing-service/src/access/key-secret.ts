// What a new key's hash needs before it is stored: that no key has it, and that it was made with the
// same secret as all others; under another one a gateway would know none of them.
import type { NewKey } from '@penstock/shared/contracts/admin'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type RawBuilder, sql } from 'kysely'
import { type AdminContext, newKeyOf } from './admin-context.ts'

export function otherSecret(): PenstockError {
  const message =
    'PENSTOCK_SECRET differs from the one that the keys were made with: give every gateway the same.'
  return new PenstockError('service_unavailable', message)
}

/**
 * @returns the columns of the new key; the first key's secret becomes everybody's
 * @throws PenstockError `service_unavailable` for another secret; `conflict` if the key is taken
 */
export async function newKeyColumns(
  context: AdminContext,
): Promise<{ secret_hash: RawBuilder<Buffer>; key_name: string }> {
  const newKey = newKeyOf(context)
  await checkSecret(context, newKey)
  const secretHash = sql<Buffer>`decode(${newKey.secretHash}, 'hex')`
  const taken = await context.trx
    .selectFrom('api_key')
    .select('key_id')
    .where('secret_hash', '=', secretHash)
    .executeTakeFirst()
  if (taken !== undefined) {
    throw new PenstockError('conflict', 'This key is taken.', { param: 'key' })
  }
  return { secret_hash: secretHash, key_name: newKey.keyName }
}

async function checkSecret({ trx }: AdminContext, newKey: NewKey): Promise<void> {
  const { rows } = await sql<{ fingerprint: string | null }>`
    select secret_fingerprint as fingerprint from access_state
    where exists (select from api_key)`.execute(trx)
  const known = rows[0]?.fingerprint ?? null
  if (known === newKey.secretFingerprint) return
  if (known !== null) throw otherSecret()
  await trx
    .updateTable('access_state')
    .set({ secret_fingerprint: newKey.secretFingerprint })
    .execute()
}

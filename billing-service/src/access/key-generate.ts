// Makes keys: for `key.generate`, and for users that come with one.
import { randomBytes } from 'node:crypto'
import type { KeyChange, KeyInfo, keyOperations } from '@penstock/shared/contracts/admin/keys'
import { writeAccounts } from './accounts-of.ts'
import { type AdminContext, type HandlersOf, nameOf } from './admin-context.ts'
import { fromNowOn } from './durations.ts'
import { keyInfoOf } from './key-row.ts'
import { checkAlias, checkPlan } from './key-rules.ts'
import { newKeyColumns } from './key-secret.ts'
import { columnsOf } from './limit-columns.ts'

type Handlers = HandlersOf<typeof keyOperations>

/** Says nothing of the key; 96 random bits. */
function newKeyId(): string {
  return `key_${randomBytes(12).toString('hex')}`
}

/**
 * Stores the context's new key; asks for permission itself.
 * @throws PenstockError `conflict` naming key_alias or key; `not_found` naming team_id or budget_id;
 *   `invalid_request`; `permission_denied`
 */
export async function createKey(
  context: AdminContext,
  fields: Partial<KeyChange>,
): Promise<KeyInfo> {
  const { trx, actor, timezone } = context
  const { team_id: teamId = null, user_id: userId = null } = fields
  await checkPlan(context, { teamId, userId, models: fields.models ?? [] })
  await checkAlias(context, fields.key_alias, null)
  const secret = await newKeyColumns(context)
  const keyId = newKeyId()
  await writeAccounts(trx, { kind: 'key', owner: keyId }, fields, null, timezone)
  await trx
    .insertInto('api_key')
    .values({
      ...columnsOf(fields, {}),
      ...secret,
      key_id: keyId,
      key_alias: fields.key_alias ?? null,
      team_id: teamId,
      user_id: userId,
      aliases: JSON.stringify(fields.aliases ?? {}),
      expires_at: expiry(fields.duration),
      created_by: nameOf(actor),
    })
    .execute()
  const info = await keyInfoOf(trx, keyId)
  await context.audit({ kind: 'key', id: keyId, before: null, after: info })
  return info
}

/** `-1`, as null and absent: never. */
export function expiry(duration: string | null | undefined) {
  return duration === undefined || duration === null || duration === '-1'
    ? null
    : fromNowOn(duration)
}

export const generate: Handlers['key.generate'] = (context, fields) => createKey(context, fields)

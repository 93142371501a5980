// Changes keys: their fields, their text, whether they are blocked.
import type { KeyChange, KeyInfo, keyOperations } from '@penstock/shared/contracts/admin/keys'
import { sql, type UpdateObject } from 'kysely'
import type { Database } from '../database.ts'
import { writeAccounts } from './accounts-of.ts'
import type { AdminContext, HandlersOf } from './admin-context.ts'
import { expiry } from './key-generate.ts'
import { type KeyRow, keyInfoOf, permittedKey } from './key-row.ts'
import { checkAlias, checkPlan } from './key-rules.ts'
import { newKeyColumns } from './key-secret.ts'
import { columnsOf, given } from './limit-columns.ts'

type Handlers = HandlersOf<typeof keyOperations>

export const update: Handlers['key.update'] = (context, { key, ...fields }) =>
  change(context, key, (row) => changedColumns(context, row, fields))

/** The id, and so all that was spent, stays; the old text is no key any more. */
export const regenerate: Handlers['key.regenerate'] = (context, params) => {
  const { key, new_key: _, ...fields } = params
  return change(context, key, async (row) => ({
    ...(await changedColumns(context, row, fields)),
    ...(await newKeyColumns(context)),
    regenerated_at: sql<Date>`now()`,
  }))
}

export const block: Handlers['key.block'] = (context, { key }) =>
  change(context, key, () => ({ blocked: true }))

export const unblock: Handlers['key.unblock'] = (context, { key }) =>
  change(context, key, () => ({ blocked: false }))

type KeyColumns = UpdateObject<Database, 'api_key'>

async function change(
  context: AdminContext,
  reference: string,
  columnsFor: (row: KeyRow) => KeyColumns | Promise<KeyColumns>,
): Promise<KeyInfo> {
  const { trx } = context
  const row = await permittedKey(context, reference, 'key')
  const before = await keyInfoOf(trx, row.key_id)
  await trx
    .updateTable('api_key')
    .set({ ...(await columnsFor(row)), updated_at: sql<Date>`now()` })
    .where('key_id', '=', row.key_id)
    .execute()
  const after = await keyInfoOf(trx, row.key_id)
  await context.audit({ kind: 'key', id: row.key_id, before, after })
  return after
}

/** Checks the key as it is going to be, and writes its budget. */
async function changedColumns(
  context: AdminContext,
  row: KeyRow,
  fields: KeyChange,
): Promise<KeyColumns> {
  const { team_id: teamId = row.team_id, user_id: userId = row.user_id } = fields
  const { models = row.models, duration } = fields
  const moves = teamId !== row.team_id
  if (moves || userId !== row.user_id || fields.models !== undefined) {
    await checkPlan(context, {
      teamId,
      // Whoever left the team, or what it may not use any more, does not stand in a change's way.
      userId: moves || userId !== row.user_id ? userId : null,
      models: moves || fields.models !== undefined ? (models ?? []) : [],
    })
  }
  await checkAlias(context, fields.key_alias, row.key_id)
  const holder = { kind: 'key', owner: row.key_id } as const
  await writeAccounts(context.trx, holder, fields, row.budget_id, context.timezone)
  return {
    ...columnsOf(fields, row.model_limits),
    ...given({
      key_alias: fields.key_alias,
      team_id: fields.team_id,
      user_id: fields.user_id,
      aliases: fields.aliases === undefined ? undefined : JSON.stringify(fields.aliases ?? {}),
      expires_at: duration === undefined ? undefined : expiry(duration),
    }),
  }
}

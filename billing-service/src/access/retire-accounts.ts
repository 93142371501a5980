// The accounts of holders that are gone: what was spent stays counted, as the ledger says, but the
// limits end with the holder. One of the same name begins without them, and with that spending.
import { sql } from 'kysely'
import type { AccountTable } from '../access-tables.ts'
import type { AdminTransaction } from './admin-context.ts'

export async function retireAccounts(
  trx: AdminTransaction,
  kind: AccountTable['kind'],
  owners: readonly string[],
): Promise<void> {
  if (owners.length === 0) return
  // Locked in the order of their key, as everybody does.
  await sql`
    with gone as materialized (
      select kind, owner, model from account
      where kind = ${kind} and owner = any(${owners}::text[])
      order by kind, owner, model
      for update
    )
    update account as a set max_amount = null, soft_amount = null, max_tokens = null,
      period = null, zone = null, period_start = '-infinity', resets_at = null,
      period_amount = total_amount, period_tokens = total_tokens, soft_notified_at = null
    from gone where (a.kind, a.owner, a.model) = (gone.kind, gone.owner, gone.model)`.execute(trx)
}

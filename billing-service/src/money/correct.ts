// Corrects what an attempt was billed: a new entry of the ledger beside the old one, with its reason,
// which moves the totals in the same transaction.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Amount } from '@penstock/shared/pricing/money'
import { sql, type Transaction } from 'kysely'
import type { Database } from '../database.ts'

export interface Correction {
  requestId: string
  attempt: number
  /** To add, in pico-dollars; negative: to give back. */
  amount: Amount
  reason: string
}

export interface Corrected {
  entryId: string
  /** Of all entries of the attempt, before and now. */
  before: Amount
  spend: Amount
}

interface EntryRow {
  id: string
  amount: string
}

interface AddedRow {
  id: string
  /** Accounts that came to their soft limit by it, as JSON. */
  crossed: unknown[]
}

/**
 * Counted for the day, and the budget period, of the request that it corrects, and for whoever paid it.
 * @throws PenstockError `not_found` for an attempt that was never billed; `invalid_request` when the
 *   attempt would come to cost less than nothing
 */
export async function correctSpend(
  trx: Transaction<Database>,
  { requestId, attempt, amount, reason }: Correction,
): Promise<Corrected> {
  // One correction at a time. The entry itself cannot change.
  const { rows: usage } = await sql<EntryRow>`
    select id from ledger
    where request_id = ${requestId} and attempt = ${attempt} and kind = 'usage' for update
    `.execute(trx)
  if (usage.length === 0) {
    const message = `Attempt ${attempt} of request ${requestId} is not in the ledger.`
    throw new PenstockError('not_found', message, { param: 'request_id' })
  }
  const { rows: sums } = await sql<{ amount: string }>`
    select sum(amount) as amount from ledger
    where request_id = ${requestId} and attempt = ${attempt}`.execute(trx)
  const before = BigInt(sums[0]?.amount ?? 0)
  const spend = before + amount
  if (spend < 0n) {
    const message = 'amount: an attempt cannot cost less than nothing.'
    throw new PenstockError('invalid_request', message, { param: 'amount' })
  }
  const { rows: added } = await sql<AddedRow>`
    with entered as (
      insert into ledger (kind, status, reason, request_id, attempt, occurred_at, amount,
        unit_prices, price_source, prompt_tokens, completion_tokens, usage_estimated, key_id,
        user_id, team_id, end_user, tags, model_group, deployment_id, provider, model)
      select 'correction', 'correction', ${reason}, request_id, attempt, occurred_at,
        ${amount.toString()}::numeric, '{}', price_source, 0, 0, false, key_id, user_id, team_id,
        end_user, tags, model_group, deployment_id, provider, model
      from ledger
      where request_id = ${requestId} and attempt = ${attempt} and kind = 'usage'
      returning *
    ), logged as (
      update request_log set amount = request_log.amount + entered.amount
      from entered
      where request_log.request_id = entered.request_id
        and request_log.attempt = entered.attempt
    )
    select id, settle_usage(array[row(request_id, status, occurred_at, amount, prompt_tokens,
      completion_tokens, key_id, user_id, team_id, tags, model_group, provider, model)::usage_entry],
      '[]', now()) as crossed from entered`.execute(trx)
  // Nobody is told of it here: the next usage of the account does that.
  await sql`
    update account a set soft_notified_at = null
    from jsonb_to_recordset(${JSON.stringify(added[0]?.crossed ?? [])}::jsonb)
      as c(kind text, owner text, model text)
    where a.kind = c.kind and a.owner = c.owner and a.model = c.model`.execute(trx)
  return { entryId: added[0]?.id ?? '', before, spend }
}

// How the budgets of keys, teams, users or members stand, as replies show it.
import type { budgetReply } from '@penstock/shared/contracts/admin/fields'
import { dollarText } from '@penstock/shared/pricing/money'
import { sql } from 'kysely'
import type { z } from 'zod'
import type { AccountTable } from '../access-tables.ts'
import type { AdminTransaction } from './admin-context.ts'

export type BudgetStanding = z.output<z.ZodObject<typeof budgetReply>>

interface StandingRow {
  owner: string
  model: string
  max_amount: string | null
  soft_amount: string | null
  max_tokens: string | null
  period: string | null
  zone: string | null
  resets_at: Date | null
  spent: string
  tokens_spent: string
  reserved: string
  total_amount: string
}

/**
 * By owner; every owner that was asked for has an entry, spent or not. A period that is over counts as
 * begun anew, although its row is brought up to date only by the next spending.
 */
export async function standingsOf(
  trx: AdminTransaction,
  kind: AccountTable['kind'],
  owners: readonly string[],
): Promise<(owner: string) => BudgetStanding> {
  const { rows } = await sql<StandingRow>`
    select owner, model, max_amount, soft_amount, max_tokens, period, zone,
      -- Without what gateways may grant without asking (migrations/2026-07-allowances.ts).
      reserved_amount - coalesce((
        select sum(r.amount) from reservation r
        where r.kind = account.kind and r.owner = account.owner and r.model = account.model
          and r.request_id >= 'allowance/' and r.request_id < 'allowance0'
      ), 0) as reserved, total_amount,
      case when is_over
        then budget_period_end(period, budget_period_at(period, resets_at, now(), zone), zone)
        else resets_at end as resets_at,
      case when is_over then 0 else period_amount end as spent,
      case when is_over then 0 else period_tokens end as tokens_spent
    from account, lateral (select coalesce(resets_at <= now(), false) as is_over) as period_state
    where kind = ${kind} and owner = any(${owners}::text[])
    order by model`.execute(trx)
  const byOwner = Map.groupBy(rows, (row) => row.owner)
  return (owner) => standingOf(byOwner.get(owner) ?? [])
}

function standingOf(rows: readonly StandingRow[]): BudgetStanding {
  const whole = rows.find((row) => row.model === '')
  const models = rows.filter(
    (row) => row.model !== '' && (row.max_amount !== null || row.max_tokens !== null),
  )
  return {
    max_budget: dollarsOf(whole?.max_amount ?? null),
    soft_budget: dollarsOf(whole?.soft_amount ?? null),
    max_tokens_budget: numberOf(whole?.max_tokens ?? null),
    budget_duration: whole?.period ?? null,
    budget_timezone: whole?.zone ?? null,
    budget_reset_at: whole?.resets_at?.toISOString() ?? null,
    spend: dollarsOf(whole?.spent ?? '0'),
    reserved: dollarsOf(whole?.reserved ?? '0'),
    tokens_spent: Number(whole?.tokens_spent ?? 0),
    total_spend: dollarsOf(whole?.total_amount ?? '0'),
    model_max_budget: Object.fromEntries(
      models.map((row) => [
        row.model,
        {
          max_budget: dollarsOf(row.max_amount),
          max_tokens_budget: numberOf(row.max_tokens),
          budget_duration: row.period,
          budget_reset_at: row.resets_at?.toISOString() ?? null,
          spend: dollarsOf(row.spent),
          tokens_spent: Number(row.tokens_spent),
        },
      ]),
    ),
    model_spend: Object.fromEntries(models.map((row) => [row.model, dollarsOf(row.spent)])),
  }
}

/** Pico-dollars as a JSON number of US dollars. */
export function dollarsOf(amount: string): number
export function dollarsOf(amount: string | null): number | null
export function dollarsOf(amount: string | null): number | null {
  return amount === null ? null : Number(dollarText(BigInt(amount)))
}

function numberOf(whole: string | null): number | null {
  return whole === null ? null : Number(whole)
}

// The limits of accounts: from the admin API's fields, from a shared budget, from the account rows
// themselves, which are where a holder's own limits live.
import type { BudgetFields, ModelBudgetField } from '@penstock/shared/contracts/admin/fields'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type Amount, costOf, decimalOf } from '@penstock/shared/pricing/money'
import type { AccountTable, ModelBudgets } from '../access-tables.ts'
import type { AdminTransaction } from './admin-context.ts'

export interface AccountHolder {
  kind: AccountTable['kind']
  /** The id of the key, team or user; `<team id>/<user id>` of a member. */
  owner: string
}

/** Amounts are pico-dollars as text; null: no limit. */
export interface AccountLimits {
  max_amount: string | null
  soft_amount: string | null
  max_tokens: number | null
  period: string | null
  /** Null: the config's. */
  zone: string | null
  /** By model group. */
  models: ModelBudgets
}

export const noLimits: AccountLimits = {
  max_amount: null,
  soft_amount: null,
  max_tokens: null,
  period: null,
  zone: null,
  models: {},
}

/** US dollars as a JSON number, as it is written, in pico-dollars. */
export function amountOf(dollars: number): Amount {
  return costOf(1, decimalOf(dollars))
}

/** Undefined: the field was not given. */
const amountText = (dollars: number | null | undefined) =>
  typeof dollars === 'number' ? String(amountOf(dollars)) : dollars

/** The limits with what was given in the place of what was; null takes a limit away. */
export function changedLimits(before: AccountLimits, fields: BudgetFields): AccountLimits {
  const or = <T>(given: T | undefined, was: T) => (given === undefined ? was : given)
  const models = fields.model_max_budget
  return {
    max_amount: or(amountText(fields.max_budget), before.max_amount),
    soft_amount: or(amountText(fields.soft_budget), before.soft_amount),
    max_tokens: or(fields.max_tokens_budget, before.max_tokens),
    period: or(fields.budget_duration, before.period),
    zone: or(fields.budget_timezone, before.zone),
    models: models === undefined ? before.models : modelBudgetsOf(models ?? {}),
  }
}

/** As they are stored, in all of the forms that LiteLLM knows. */
export function modelBudgetsOf(fields: Record<string, ModelBudgetField>): ModelBudgets {
  return Object.fromEntries(
    Object.entries(fields).map(([model, field]) => {
      const given = typeof field === 'number' ? { max_budget: field } : field
      return [
        model,
        {
          max_budget: amountText(given.max_budget ?? given.budget_limit) ?? null,
          max_tokens_budget: given.max_tokens_budget ?? null,
          budget_duration: given.budget_duration ?? given.time_period ?? null,
        },
      ]
    }),
  )
}

/** @throws PenstockError `not_found` naming budget_id */
export async function limitsOfBudget(
  trx: AdminTransaction,
  budgetId: string,
): Promise<AccountLimits> {
  const budget = await trx
    .selectFrom('budget')
    .selectAll()
    .where('budget_id', '=', budgetId)
    .executeTakeFirst()
  if (budget === undefined) {
    const message = `There is no budget ${budgetId}.`
    throw new PenstockError('not_found', message, { param: 'budget_id' })
  }
  return {
    max_amount: budget.max_budget,
    soft_amount: budget.soft_budget,
    max_tokens: numberOf(budget.max_tokens_budget),
    period: budget.budget_duration,
    zone: budget.budget_timezone,
    models: budget.model_max_budget,
  }
}

/** The limits that stand in a holder's account rows. */
export async function limitsOfAccounts(
  trx: AdminTransaction,
  { kind, owner }: AccountHolder,
): Promise<AccountLimits> {
  const rows = await trx
    .selectFrom('account')
    .select(['model', 'max_amount', 'soft_amount', 'max_tokens', 'period', 'zone'])
    .where('kind', '=', kind)
    .where('owner', '=', owner)
    .execute()
  const whole = rows.find((row) => row.model === '')
  const models = rows.filter(
    (row) => row.model !== '' && (row.max_amount !== null || row.max_tokens !== null),
  )
  return {
    max_amount: whole?.max_amount ?? null,
    soft_amount: whole?.soft_amount ?? null,
    max_tokens: numberOf(whole?.max_tokens ?? null),
    period: whole?.period ?? null,
    zone: whole?.zone ?? null,
    models: Object.fromEntries(
      models.map((row) => [
        row.model,
        {
          max_budget: row.max_amount,
          max_tokens_budget: numberOf(row.max_tokens),
          budget_duration: row.period,
        },
      ]),
    ),
  }
}

function numberOf(whole: string | null): number | null {
  return whole === null ? null : Number(whole)
}

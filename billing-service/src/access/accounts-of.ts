// The account rows of a key, a team, a user or a member, written from its own limits or from the
// budget that it names. What was spent stays exact: a new period, and a model that had no account, are
// summed up from the ledger.
import type { BudgetFields } from '@penstock/shared/contracts/admin/fields'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import {
  type AccountHolder,
  type AccountLimits,
  changedLimits,
  limitsOfAccounts,
  limitsOfBudget,
  noLimits,
} from './account-limits.ts'
import type { AdminTransaction } from './admin-context.ts'

/** What a holder was given; absent fields stay as they are, null takes away. */
type GivenBudget = Partial<BudgetFields> & { budget_id?: string | null | undefined }

/**
 * Writes the limits of a holder, new or changed. Everything it spends is counted in the row of model
 * '', which is there afterwards.
 * @param budgetId the budget that the holder has named until now
 * @param timezone of periods whose zone is not given
 * @throws PenstockError `not_found` for an unknown budget; `invalid_request` for limits of its own
 *   beside a budget
 */
export async function writeAccounts(
  trx: AdminTransaction,
  holder: AccountHolder,
  given: GivenBudget,
  budgetId: string | null,
  timezone: string,
): Promise<void> {
  const { budget_id: newId = budgetId, ...own } = given
  if (newId !== null) {
    refuseOwnLimits(own, newId)
    await setLimits(trx, holder, await limitsOfBudget(trx, newId), timezone)
    return
  }
  const before = budgetId === null ? await limitsOfAccounts(trx, holder) : noLimits
  await setLimits(trx, holder, changedLimits(before, own), timezone)
}

/** After a change of the budget: all accounts of whoever names it. */
export async function refreshAccountsOf(
  trx: AdminTransaction,
  budgetId: string,
  timezone: string,
): Promise<void> {
  const limits = await limitsOfBudget(trx, budgetId)
  const { rows: holders } = await sql<AccountHolder>`
    select 'key' as kind, key_id as owner from api_key where budget_id = ${budgetId}
    union all select 'team', team_id from team where budget_id = ${budgetId}
    union all select 'user', user_id from app_user where budget_id = ${budgetId}
    order by kind, owner`.execute(trx)
  for (const holder of holders) await setLimits(trx, holder, limits, timezone)
}

const budgetNames = [
  'max_budget',
  'soft_budget',
  'max_tokens_budget',
  'budget_duration',
  'budget_timezone',
  'model_max_budget',
] as const

function refuseOwnLimits(own: Partial<BudgetFields>, budgetId: string): void {
  const name = budgetNames.find((field) => own[field] !== undefined && own[field] !== null)
  if (name === undefined) return
  const message = `Invalid request: ${name}: the budget ${budgetId} says it. Give one or the other; "budget_id": null takes the budget away.`
  throw new PenstockError('invalid_request', message, { param: name })
}

interface WantedRow {
  model: string
  max_amount: string | null
  soft_amount: string | null
  max_tokens: number | null
  period: string | null
  zone: string | null
}

function rowsOf(limits: AccountLimits, timezone: string): WantedRow[] {
  const { models, ...whole } = limits
  const zone = limits.zone ?? timezone
  return [
    { model: '', ...whole, zone: whole.period === null ? limits.zone : zone },
    ...Object.entries(models).map(([model, budget]) => ({
      model,
      max_amount: budget.max_budget,
      soft_amount: null,
      max_tokens: budget.max_tokens_budget,
      period: budget.budget_duration,
      zone: budget.budget_duration === null ? null : zone,
    })),
  ]
}

async function setLimits(
  trx: AdminTransaction,
  holder: AccountHolder,
  limits: AccountLimits,
  timezone: string,
): Promise<void> {
  const wanted = rowsOf(limits, timezone)
  // Whoever had no row for everything has spent nothing yet.
  const hasSpent = !(await addWhole(trx, holder))
  const known = await modelsOf(trx, holder)
  const added = wanted.filter(({ model }) => hasSpent && !known.includes(model))
  if (added.length > 0) {
    // Settlements that have not seen the new row end first, and later ones see it.
    await sql`lock table account in share row exclusive mode`.execute(trx)
  }
  const before = await lockRows(trx, holder)
  await upsert(trx, holder, wanted)
  await dropOthers(trx, holder, wanted)
  for (const row of wanted) {
    const was = before.get(row.model)
    const isNew = was === undefined
    const hasNewPeriod = was !== undefined && (was.period !== row.period || was.zone !== row.zone)
    if (hasSpent && (isNew || hasNewPeriod)) await sumUp(trx, holder, row.model, isNew)
  }
}

/**
 * Waits for a holder's first settlement that is under way, and makes later ones wait: they would count
 * in this row alone what belongs to the new rows of models too.
 * @returns whether there was none
 */
async function addWhole(trx: AdminTransaction, { kind, owner }: AccountHolder): Promise<boolean> {
  const insert = trx.insertInto('account').values({ kind, owner })
  const made = await insert
    .onConflict((conflict) => conflict.doNothing())
    .returning('owner')
    .executeTakeFirst()
  return made !== undefined
}

async function modelsOf(trx: AdminTransaction, holder: AccountHolder): Promise<string[]> {
  const { kind, owner } = holder
  const query = trx.selectFrom('account').select('model')
  const rows = await query.where('kind', '=', kind).where('owner', '=', owner).execute()
  return rows.map((row) => row.model)
}

/** In the order of their key, as everybody locks them. */
async function lockRows(trx: AdminTransaction, { kind, owner }: AccountHolder) {
  const rows = await trx
    .selectFrom('account')
    .select(['model', 'period', 'zone'])
    .where('kind', '=', kind)
    .where('owner', '=', owner)
    .orderBy('model')
    .forUpdate()
    .execute()
  return new Map(rows.map((row) => [row.model, row]))
}

async function upsert(
  trx: AdminTransaction,
  { kind, owner }: AccountHolder,
  wanted: readonly WantedRow[],
): Promise<void> {
  await sql`
    insert into account as a (kind, owner, model, max_amount, soft_amount, max_tokens, period, zone,
      period_start, resets_at)
    select ${kind}, ${owner}, model, max_amount, soft_amount, max_tokens, period, zone,
      coalesce(start, '-infinity'), budget_period_end(period, start, zone)
    from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb)
      as w(model text, max_amount numeric, soft_amount numeric, max_tokens bigint, period text,
        zone text),
      lateral (select budget_period_start(period, now(), zone) as start) as begins
    order by model collate "C"
    on conflict (kind, owner, model) do update set
      max_amount = excluded.max_amount,
      soft_amount = excluded.soft_amount,
      max_tokens = excluded.max_tokens,
      period = excluded.period,
      zone = excluded.zone,
      soft_notified_at = case when (a.soft_amount, a.period, a.zone)
          is not distinct from (excluded.soft_amount, excluded.period, excluded.zone)
        then a.soft_notified_at end,
      period_start = case when (a.period, a.zone) is not distinct from (excluded.period, excluded.zone)
        then a.period_start else excluded.period_start end,
      resets_at = case when (a.period, a.zone) is not distinct from (excluded.period, excluded.zone)
        then a.resets_at else excluded.resets_at end`.execute(trx)
}

/** Accounts of models that have no budget any more go on counting, without limits. */
async function dropOthers(
  trx: AdminTransaction,
  { kind, owner }: AccountHolder,
  wanted: readonly WantedRow[],
): Promise<void> {
  await sql`
    update account set max_amount = null, soft_amount = null, max_tokens = null, period = null,
      zone = null, resets_at = null, period_start = '-infinity', period_amount = total_amount,
      period_tokens = total_tokens
    where kind = ${kind} and owner = ${owner}
      and model <> all(${wanted.map((row) => row.model)}::text[])`.execute(trx)
}

/** @param isNew the totals too: nothing was counted in the row before */
async function sumUp(
  trx: AdminTransaction,
  holder: AccountHolder,
  model: string,
  isNew: boolean,
): Promise<void> {
  const ofModel = model === '' ? sql`true` : sql`model_group = ${model}`
  const key = sql`kind = ${holder.kind} and owner = ${holder.owner} and model = ${model}`
  if (isNew) {
    await sql`
      update account set (total_amount, total_tokens) = (
        select coalesce(sum(amount), 0), coalesce(sum(prompt_tokens + completion_tokens), 0)
        from ledger where ${entriesOf(holder)} and ${ofModel})
      where ${key}`.execute(trx)
  }
  await sql`
    update account set period_amount = total_amount, period_tokens = total_tokens
    where ${key} and period is null`.execute(trx)
  await sql`
    update account set (period_amount, period_tokens) = (
      select coalesce(sum(amount), 0), coalesce(sum(prompt_tokens + completion_tokens), 0)
      from ledger where ${entriesOf(holder)} and ${ofModel} and occurred_at >= period_start)
    where ${key} and period is not null`.execute(trx)
}

function entriesOf({ kind, owner }: AccountHolder) {
  if (kind === 'member') {
    const slash = owner.indexOf('/')
    return sql`team_id = ${owner.slice(0, slash)} and user_id = ${owner.slice(slash + 1)}`
  }
  return sql`${sql.ref(`${kind}_id`)} = ${owner}`
}

// The admin operations on budgets: limits that keys, teams and users share by naming them.

import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { BudgetReply, budgetOperations } from '@penstock/shared/contracts/admin/budgets'
import type { RateFields } from '@penstock/shared/contracts/admin/fields'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type Selectable, sql } from 'kysely'
import type { BudgetTable } from '../access-tables.ts'
import { type AccountLimits, changedLimits, limitsOfBudget, noLimits } from './account-limits.ts'
import { refreshAccountsOf } from './accounts-of.ts'
import { type AdminTransaction, type HandlersOf, nameOf } from './admin-context.ts'
import { listAudit } from './audit-list.ts'
import { dollarsOf } from './budget-standing.ts'
import { columnsOf, given, ratesOf } from './limit-columns.ts'
import { wholeList, windowOf } from './whole-list.ts'

type Handlers = HandlersOf<typeof budgetOperations>

const create: Handlers['budget.new'] = async (context, params) => {
  const { trx, actor, permit, audit } = context
  permit(['none'])
  const budgetId = params.budget_id ?? randomUUID()
  const made = await trx
    .insertInto('budget')
    .values({
      ...limitColumns(changedLimits(noLimits, params)),
      ...rateColumns(params),
      budget_id: budgetId,
      created_by: nameOf(actor),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
  if (made === undefined) {
    const message = `There is a budget ${budgetId} already.`
    throw new PenstockError('conflict', message, { param: 'budget_id' })
  }
  const reply = replyOf(made)
  await audit({ kind: 'budget', id: budgetId, before: null, after: reply })
  return reply
}

const info: Handlers['budget.info'] = async ({ trx, permit }, { budgets }) => {
  permit(['none'])
  const found = trx.selectFrom('budget').selectAll().where('budget_id', 'in', budgets)
  return (await found.orderBy('budget_id').execute()).map(replyOf)
}

/** Whoever names it is held to the new limits at once; what was spent stays. */
const update: Handlers['budget.update'] = async (context, { budget_id: budgetId, ...fields }) => {
  const { trx, permit, audit, timezone } = context
  permit(['none'])
  const before = await existing(trx, budgetId, 'budget_id')
  const was = await limitsOfBudget(trx, budgetId)
  const limits = changedLimits(was, fields)
  const changed = await trx
    .updateTable('budget')
    .set({ ...limitColumns(limits), ...rateColumns(fields), updated_at: sql<Date>`now()` })
    .where('budget_id', '=', budgetId)
    .returningAll()
    .executeTakeFirstOrThrow()
  // Rates do not stand in accounts: requests of thousands of keys would wait for nothing.
  if (!isDeepStrictEqual(limits, was)) await refreshAccountsOf(trx, budgetId, timezone)
  const after = replyOf(changed)
  await audit({ kind: 'budget', id: budgetId, before, after })
  return after
}

const list: Handlers['budget.list'] = async ({ trx, permit }, params) => {
  permit(['none'])
  const { limit, offset } = windowOf(params)
  const found = trx.selectFrom('budget').selectAll().orderBy('created_at', 'desc')
  const rows = await found.orderBy('budget_id').limit(limit).offset(offset).execute()
  return wholeList(rows, params).map(replyOf)
}

const remove: Handlers['budget.delete'] = async ({ trx, permit, audit }, { id }) => {
  permit(['none'])
  const before = await existing(trx, id, 'id')
  const user = await firstUserOf(trx, id)
  if (user !== null) {
    const message = `The budget ${id} is in use, among others by the ${user.kind} ${user.id}.`
    throw new PenstockError('conflict', message, { param: 'id' })
  }
  await trx.deleteFrom('budget').where('budget_id', '=', id).execute()
  await audit({ kind: 'budget', id, before, after: null })
  return before
}

export const budgetHandlers: Handlers = {
  'budget.new': create,
  'budget.info': info,
  'budget.update': update,
  'budget.list': list,
  'budget.delete': remove,
  'audit.list': listAudit,
}

/** @throws PenstockError `not_found` naming the parameter */
async function existing(
  trx: AdminTransaction,
  budgetId: string,
  param: string,
): Promise<BudgetReply> {
  const found = trx.selectFrom('budget').selectAll().where('budget_id', '=', budgetId)
  const row = await found.executeTakeFirst()
  if (row !== undefined) return replyOf(row)
  throw new PenstockError('not_found', `There is no budget ${budgetId}.`, { param })
}

async function firstUserOf(trx: AdminTransaction, budgetId: string) {
  const { rows } = await sql<{ kind: string; id: string }>`
    select 'key' as kind, key_id as id from api_key where budget_id = ${budgetId}
    union all select 'team', team_id from team where budget_id = ${budgetId}
    union all select 'user', user_id from app_user where budget_id = ${budgetId}
    limit 1`.execute(trx)
  return rows[0] ?? null
}

function limitColumns(limits: AccountLimits) {
  return {
    max_budget: limits.max_amount,
    soft_budget: limits.soft_amount,
    max_tokens_budget: limits.max_tokens === null ? null : String(limits.max_tokens),
    budget_duration: limits.period,
    budget_timezone: limits.zone,
    model_max_budget: JSON.stringify(limits.models),
  }
}

function rateColumns(fields: RateFields) {
  const { rpm_limit, tpm_limit, max_parallel_requests } = columnsOf(fields, {})
  return given({ rpm_limit, tpm_limit, max_parallel_requests })
}

function replyOf(row: Selectable<BudgetTable>): BudgetReply {
  const models = Object.entries(row.model_max_budget).map(
    ([model, budget]) => [model, { ...budget, max_budget: dollarsOf(budget.max_budget) }] as const,
  )
  return {
    budget_id: row.budget_id,
    max_budget: dollarsOf(row.max_budget),
    soft_budget: dollarsOf(row.soft_budget),
    max_tokens_budget: row.max_tokens_budget === null ? null : Number(row.max_tokens_budget),
    budget_duration: row.budget_duration,
    budget_timezone: row.budget_timezone,
    ...ratesOf(row),
    model_max_budget: Object.fromEntries(models),
    created_at: row.created_at.toISOString(),
    created_by: row.created_by,
    updated_at: row.updated_at.toISOString(),
  }
}

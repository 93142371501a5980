// The admin operations on budgets: named sets of limits that keys, teams and users can share. Each
// that names one is held to it by an account of its own. And the audit log, which is of them all.
import { z } from 'zod'
import {
  budgetFields,
  modelBudgetReply,
  names,
  nameText,
  params,
  rateFields,
  rateReply,
  spendLimitsReply,
  wholeListFields,
} from './fields.ts'
import { operation } from './operation.ts'

const limits = { ...rateFields, ...budgetFields }

/** A model's budget; what was spent of it stands with whoever spent it. */
const modelBudget = modelBudgetReply.pick({
  max_budget: true,
  max_tokens_budget: true,
  budget_duration: true,
})

/** Money in US dollars. */
export const budgetReply = z.object({
  budget_id: z.string(),
  ...spendLimitsReply,
  model_max_budget: z.record(z.string(), modelBudget),
  ...rateReply,
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
})
export type BudgetReply = z.infer<typeof budgetReply>

const auditEntry = z.object({
  id: z.string(),
  at: z.iso.datetime(),
  actor_role: z.string(),
  actor_key_id: z.string().nullable(),
  actor_user_id: z.string().nullable(),
  correlation_id: z.string(),
  operation: z.string(),
  object_kind: z.string(),
  object_id: z.string(),
  before: z.record(z.string(), z.unknown()).nullable(),
  after: z.record(z.string(), z.unknown()).nullable(),
})
export type AuditEntry = z.infer<typeof auditEntry>

export const budgetOperations = {
  'budget.new': operation({
    method: 'post',
    path: '/budget/new',
    params: params({ budget_id: nameText.nullish(), ...limits }),
    reply: budgetReply,
  }),
  /** Those of the budgets asked for that there are. */
  'budget.info': operation({
    method: 'post',
    path: '/budget/info',
    leavesAccess: true,
    params: params({ budgets: names.min(1) }),
    reply: z.array(budgetReply),
  }),
  'budget.update': operation({
    method: 'post',
    path: '/budget/update',
    params: params({ budget_id: nameText, ...limits }),
    reply: budgetReply,
  }),
  /** All, by `page` where they are too many for one answer. */
  'budget.list': operation({
    method: 'get',
    path: '/budget/list',
    params: params({ ...wholeListFields }),
    reply: z.array(budgetReply),
  }),
  /** Refused while a key, a team or a user names it. */
  'budget.delete': operation({
    method: 'post',
    path: '/budget/delete',
    params: params({ id: nameText }),
    reply: budgetReply,
  }),
  /** Newest first. `since`: a moment, ISO 8601; `cursor`: the `next_cursor` of the page before. */
  'audit.list': operation({
    method: 'get',
    path: '/audit',
    params: params({
      object_kind: nameText.optional(),
      object_id: nameText.optional(),
      since: z.iso.datetime({ offset: true }).optional(),
      cursor: z
        .string()
        .regex(/^\d{1,18}$/, 'expected a next_cursor that we gave out')
        .optional(),
      limit: z.coerce.number().pipe(z.int().min(1).max(500)).default(100),
    }),
    reply: z.object({ data: z.array(auditEntry), next_cursor: z.string().nullable() }),
  }),
}

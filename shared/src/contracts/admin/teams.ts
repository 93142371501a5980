// The admin operations on teams and their members, as LiteLLM names them.
import { z } from 'zod'
import {
  budgetFields,
  holderFields,
  holderReply,
  modelAliases,
  names,
  nameText,
  params,
  spendLimitsReply,
  teamIdText,
  wholeListFields,
} from './fields.ts'
import { keyLimitField, keysShown } from './keys.ts'
import { operation } from './operation.ts'

const maxMembers = 1_000

export const memberRole = z.enum(['admin', 'user'])

/** By its id, or else by the address it has; one that is not known yet is made. */
const member = z
  .strictObject({
    role: memberRole.default('user'),
    user_id: nameText.nullish(),
    user_email: nameText.nullish(),
  })
  .refine((given) => given.user_id != null || given.user_email != null, {
    message: 'expected a user_id or a user_email',
    path: ['user_id'],
  })
export type MemberField = z.output<typeof member>

/** What one member may spend in the team, in US dollars and in tokens, and in what time. */
const memberBudget = {
  max_budget_in_team: budgetFields.max_budget,
  max_tokens_budget: budgetFields.max_tokens_budget,
  budget_duration: budgetFields.budget_duration,
  budget_timezone: budgetFields.budget_timezone,
}
export type MemberBudgetFields = z.output<z.ZodObject<typeof memberBudget>>

const fields = {
  team_alias: nameText.nullish(),
  organization_id: nameText.nullish(),
  /** Of its keys. */
  model_aliases: modelAliases.nullish(),
  ...holderFields,
}
export type TeamFields = z.output<z.ZodObject<typeof fields>>

const memberReply = z.object({
  user_id: z.string(),
  user_email: z.string().nullable(),
  role: memberRole,
})

/** How a member stands in the team; money in US dollars. */
const membership = z.object({
  user_id: z.string(),
  team_id: z.string(),
  /** In the current period. */
  spend: z.number(),
  tokens_spent: z.number(),
  /** Null: it may spend what the team may. */
  litellm_budget_table: z
    .object(spendLimitsReply)
    .omit({ soft_budget: true })
    .extend({ budget_reset_at: z.iso.datetime().nullable() })
    .nullable(),
})
export type MembershipReply = z.infer<typeof membership>

export const teamReply = z.object({
  team_id: z.string(),
  team_alias: z.string().nullable(),
  organization_id: z.string().nullable(),
  model_aliases: z.record(z.string(), z.string()),
  /** By user id, the first 500 of the `members_count`; for a plain member only itself. */
  members_with_roles: z.array(memberReply),
  members_count: z.int(),
  ...holderReply,
})
export type TeamReply = z.infer<typeof teamReply>

const teamId = params({ team_id: teamIdText })

export const teamOperations = {
  'team.new': operation({
    method: 'post',
    path: '/team/new',
    params: params({
      /** Absent: one is made. */
      team_id: teamIdText.nullish(),
      members_with_roles: z.array(member).max(maxMembers).nullish(),
      ...fields,
    }),
    reply: teamReply,
  }),
  /** A plain member sees its own keys. */
  'team.info': operation({
    method: 'get',
    path: '/team/info',
    params: params({ team_id: teamIdText, ...keyLimitField }),
    reply: z.object({
      team_id: z.string(),
      team_info: teamReply,
      ...keysShown,
      team_memberships: z.array(membership),
    }),
  }),
  'team.update': operation({
    method: 'post',
    path: '/team/update',
    params: params({ team_id: teamIdText, ...fields }),
    reply: z.object({ team_id: z.string(), data: teamReply }),
  }),
  /** With their keys. What they spent stays in the ledger. */
  'team.delete': operation({
    method: 'post',
    path: '/team/delete',
    params: params({ team_ids: z.array(teamIdText).min(1).max(100) }),
    reply: z.object({ deleted_teams: names, deleted_keys: z.int() }),
  }),
  /** All that the asker may see; by `page` where they are too many for one answer. */
  'team.list': operation({
    method: 'get',
    path: '/team/list',
    params: params({
      user_id: nameText.optional(),
      organization_id: nameText.optional(),
      ...wholeListFields,
    }),
    reply: z.array(teamReply),
  }),
  'team.member_add': operation({
    method: 'post',
    path: '/team/member_add',
    params: params({
      team_id: teamIdText,
      /** One, or a list. */
      member: z.preprocess(
        (given) => (Array.isArray(given) ? given : [given]),
        z.array(member).min(1).max(maxMembers),
      ),
      ...memberBudget,
    }),
    reply: z.object({ ...teamReply.shape, updated_team_memberships: z.array(membership) }),
  }),
  'team.member_update': operation({
    method: 'post',
    path: '/team/member_update',
    params: params({
      team_id: teamIdText,
      user_id: nameText,
      role: memberRole.nullish(),
      ...memberBudget,
    }),
    reply: membership.extend({ role: memberRole }),
  }),
  /** The keys that the member has in the team go with it. */
  'team.member_delete': operation({
    method: 'post',
    path: '/team/member_delete',
    params: params({
      team_id: teamIdText,
      user_id: nameText.nullish(),
      user_email: nameText.nullish(),
    }),
    reply: teamReply,
  }),
  'team.block': operation({
    method: 'post',
    path: '/team/block',
    params: teamId,
    reply: teamReply,
  }),
  'team.unblock': operation({
    method: 'post',
    path: '/team/unblock',
    params: teamId,
    reply: teamReply,
  }),
}

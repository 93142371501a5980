// The admin operations on users: whoever keys can belong to, with limits over all their keys.
import { z } from 'zod'
import {
  budgetFields,
  durationText,
  holderFields,
  holderReply,
  modelAliases,
  names,
  nameText,
  pageFields,
  params,
  teamIdText,
} from './fields.ts'
import { keyLimitField, keysShown } from './keys.ts'
import { operation } from './operation.ts'
import { memberRole, teamReply } from './teams.ts'

/**
 * LiteLLM's roles but for its admins: here only the master key is one, and a user is the admin of a
 * team by its membership.
 */
const userRole = z.enum(
  ['internal_user', 'internal_user_viewer', 'team', 'customer'],
  'expected internal_user, internal_user_viewer, team or customer: only the master key is an admin',
)

const fields = {
  user_alias: nameText.nullish(),
  user_email: nameText.nullish(),
  user_role: userRole.nullish(),
  ...holderFields,
}
export type UserFields = z.output<z.ZodObject<typeof fields>>

/** A team that a new user joins; its id alone will do. */
const joined = z.preprocess(
  (given) => (typeof given === 'string' ? { team_id: given } : given),
  z.strictObject({
    team_id: teamIdText,
    user_role: memberRole.default('user'),
    max_budget_in_team: budgetFields.max_budget,
  }),
)

export const userReply = z.object({
  user_id: z.string(),
  user_alias: z.string().nullable(),
  user_email: z.string().nullable(),
  user_role: z.string(),
  /** Ids of the teams that it is a member of. */
  teams: z.array(z.string()),
  ...holderReply,
})
export type UserReply = z.infer<typeof userReply>

export const userOperations = {
  /** With a key, whose text the gateway adds, unless `auto_create_key` is false. */
  'user.new': operation({
    method: 'post',
    path: '/user/new',
    params: params({
      /** Absent: one is made. */
      user_id: nameText.nullish(),
      auto_create_key: z.boolean().default(true),
      key: z.string().nullish(),
      teams: z.array(joined).max(100).nullish(),
      /** The team that the key is for; the user joins it. */
      team_id: teamIdText.nullish(),
      key_alias: nameText.nullish(),
      /** Until the key expires. */
      duration: durationText.nullish(),
      /** Of the key. */
      aliases: modelAliases.nullish(),
      ...fields,
    }),
    reply: z.object({
      ...userReply.shape,
      /** Of the key; null where none was made. */
      token: z.string().nullable(),
      key_name: z.string().nullable(),
      key_alias: z.string().nullable(),
      expires: z.iso.datetime().nullable(),
    }),
    makesKey: 'key',
  }),
  /** Without a `user_id`: the asker's own. `teams`: at most 100; `user_info` names all. */
  'user.info': operation({
    method: 'get',
    path: '/user/info',
    params: params({ user_id: nameText.optional(), ...keyLimitField }),
    reply: z.object({
      user_id: z.string(),
      user_info: userReply,
      ...keysShown,
      teams: z.array(teamReply),
    }),
  }),
  'user.update': operation({
    method: 'post',
    path: '/user/update',
    params: params({ user_id: nameText, ...fields }),
    reply: z.object({ user_id: z.string(), data: userReply }),
  }),
  /** With their keys. What they spent stays in the ledger. */
  'user.delete': operation({
    method: 'post',
    path: '/user/delete',
    params: params({ user_ids: z.array(nameText).min(1).max(100) }),
    reply: z.object({ deleted_users: names, deleted_keys: z.int() }),
  }),
  'user.list': operation({
    method: 'get',
    path: '/user/list',
    params: params({
      /** Ids with commas between them. */
      user_ids: z.string().max(4_000).optional(),
      /** Or a part of it. */
      user_email: nameText.optional(),
      page: pageFields.page,
      page_size: z.coerce.number().pipe(z.int().min(1).max(100)).default(25),
    }),
    reply: z.object({
      users: z.array(userReply),
      total: z.int(),
      page: z.int(),
      page_size: z.int(),
      total_pages: z.int(),
    }),
  }),
}

// The admin operations on keys. A key's text is in none of them: a request names a key by a
// reference (see operation.ts), a reply by its id, which LiteLLM calls `token`.
import { z } from 'zod'
import {
  durationText,
  holderFields,
  holderReply,
  modelAliases,
  names,
  nameText,
  pageFields,
  params,
  queryFlag,
} from './fields.ts'
import { operation } from './operation.ts'

/** `hash:<hex>`, or the key's id. */
const keyReference = z.string().min(1).max(256)
const keyReferences = z.array(keyReference).max(500)

const keyFields = {
  ...holderFields,
  /** No two keys have the same one. */
  key_alias: nameText.nullish(),
  user_id: nameText.nullish(),
  team_id: nameText.nullish(),
  aliases: modelAliases.nullish(),
  /** LiteLLM's other types restrict the routes, which we do not. */
  key_type: z.literal('default').nullish(),
}

/** LiteLLM's `-1`: for ever, like null. */
const newDuration = z.union([durationText, z.literal('-1')]).nullish()

const changeFields = { ...keyFields, duration: newDuration }

export const keyInfo = z.object({
  token: z.string(),
  /** `sk-...wXyZ` */
  key_name: z.string(),
  key_alias: z.string().nullable(),
  user_id: z.string().nullable(),
  team_id: z.string().nullable(),
  expires: z.iso.datetime().nullable(),
  aliases: z.record(z.string(), z.string()),
  ...holderReply,
})
export type KeyInfo = z.output<typeof keyInfo>

/** Of the keys that an answer shows with a team or a user. */
export const keyLimitField = {
  key_limit: z.coerce.number().pipe(z.int().min(1).max(1_000)).default(100),
}

/** The newest, at most `key_limit` of the `keys_count`. */
export const keysShown = { keys: z.array(keyInfo), keys_count: z.int() }

export type KeyChange = z.output<z.ZodObject<typeof changeFields>>

export const keyOperations = {
  'key.generate': operation({
    method: 'post',
    path: '/key/generate',
    params: params({
      ...keyFields,
      /** From now on. */
      duration: durationText.nullish(),
      key: z.string().nullish(),
      /** LiteLLM's clients send it; what was spent is in the ledger alone. */
      spend: z.literal(0).nullish(),
    }),
    /** With the new key as `key`, added by the gateway. */
    reply: keyInfo,
    makesKey: 'key',
  }),
  'key.info': operation({
    method: 'get',
    path: '/key/info',
    /** Without a key: the asker's own. */
    params: params({ key: keyReference.optional() }),
    reply: z.object({ key: z.string(), info: keyInfo }),
    keyParams: ['key'],
  }),
  'key.list': operation({
    method: 'get',
    path: '/key/list',
    params: params({
      ...pageFields,
      user_id: nameText.optional(),
      team_id: nameText.optional(),
      key_alias: nameText.optional(),
      /** A key's id, or a key. */
      key_hash: keyReference.optional(),
      return_full_object: queryFlag.optional(),
      /** A team admin's teams are always in it. */
      include_team_keys: queryFlag.optional(),
    }),
    reply: z.object({
      /** Ids; the whole objects with `return_full_object`. Newest first. */
      keys: z.array(z.union([z.string(), keyInfo])),
      total_count: z.int(),
      current_page: z.int(),
      total_pages: z.int(),
    }),
    keyParams: ['key_hash'],
  }),
  'key.update': operation({
    method: 'post',
    path: '/key/update',
    params: params({ key: keyReference, ...changeFields }),
    reply: keyInfo,
    keyParams: ['key'],
  }),
  'key.regenerate': operation({
    method: 'post',
    path: '/key/regenerate',
    alsoAt: '/key/:key/regenerate',
    /** The old key is no longer one from that moment; id, limits and spend stay. */
    params: params({ key: keyReference, new_key: z.string().nullish(), ...changeFields }),
    reply: keyInfo,
    keyParams: ['key'],
    makesKey: 'new_key',
  }),
  'key.block': operation({
    method: 'post',
    path: '/key/block',
    params: params({ key: keyReference }),
    reply: keyInfo,
    keyParams: ['key'],
  }),
  'key.unblock': operation({
    method: 'post',
    path: '/key/unblock',
    params: params({ key: keyReference }),
    reply: keyInfo,
    keyParams: ['key'],
  }),
  'key.delete': operation({
    method: 'post',
    path: '/key/delete',
    /** All or none. */
    params: params({ keys: keyReferences.nullish(), key_aliases: names.nullish() }),
    reply: z.object({ deleted_keys: z.array(z.string()) }),
    keyParams: ['keys'],
  }),
}

// Who may do what with a virtual key: what a gateway asks billing once per key and then remembers,
// and how it learns that what it remembers is no longer so. The key itself never travels.
import { z } from 'zod'
import { accountRef } from './budget.ts'

const limit = z.number().positive().nullable()

/** Per minute, and at the same time. Null: no limit. */
export const rateLimits = z.object({
  rpm: limit,
  tpm: limit,
  maxParallel: z.int().positive().nullable(),
})
export type RateLimits = z.infer<typeof rateLimits>

/** One holder's limits: over all its requests, and by model group (`openai/*` patterns too). */
export const limitedScope = z.object({
  kind: z.enum(['key', 'team', 'user', 'member']),
  owner: z.string(),
  all: rateLimits,
  models: z.record(z.string(), rateLimits),
})
export type LimitedScope = z.infer<typeof limitedScope>

/** An account that has a budget; a request that it pays for has to be reserved first. */
export const budgetedAccount = accountRef.extend({
  hasMoney: z.boolean(),
  hasTokens: z.boolean(),
})
export type BudgetedAccount = z.infer<typeof budgetedAccount>

export const keyFacts = z.object({
  /** The key's public id: what stands in messages, logs and the ledger. */
  keyId: z.string(),
  keyAlias: z.string().nullable(),
  userId: z.string().nullable(),
  teamId: z.string().nullable(),
  /** Epoch milliseconds; null: never. */
  expiresAt: z.int().nullable(),
  /** What is blocked, if anything. */
  blocked: z.enum(['key', 'team', 'user']).nullable(),
  /** Every list that is not empty must allow the model: the key's, its team's, its user's. */
  modelLists: z.array(z.array(z.string())),
  /** The key's own names for models: alias → model. */
  aliases: z.record(z.string(), z.string()),
  /** Added to those of the request: the key's, its team's. */
  tags: z.array(z.string()),
  /** Null: as the config says. */
  storePrompts: z.boolean().nullable(),
  limits: z.array(limitedScope),
  /** Those with a budget only. `model`: a model group, or '' for all requests of the owner. */
  accounts: z.array(budgetedAccount),
  /** Of the key in its current budget period, and what is left; pico-dollars, in decimal. */
  spent: z.string(),
  remaining: z.string().nullable(),
})
export type KeyFacts = z.infer<typeof keyFacts>

/**
 * HMAC-SHA-256 (hex) of the text `penstock secret fingerprint` under the server's secret. It tells nothing of the
 * secret, but that a gateway has another one than the keys were made with: it would know none of them.
 */
export const secretFingerprint = z.string().regex(/^[0-9a-f]{64}$/)

/**
 * gateway → billing. The keyed hash (HMAC-SHA-256, hex) of the key that a client presented. With a
 * fingerprint that is not the keys', the answer is an error that says so. Or the id of the key that
 * something was made with, which stays when the key is regenerated.
 */
export const keyLookup = z.union([
  z.object({
    secretHash: z.string().regex(/^[0-9a-f]{64}$/),
    secretFingerprint: secretFingerprint.optional(),
  }),
  z.object({ keyId: z.string().min(1) }),
])
export type KeyLookup = z.output<typeof keyLookup>
export const keyLookupReply = z.object({
  /** Null: there is no such key. */
  facts: keyFacts.nullable(),
  /** The access version that the answer was read at, or an earlier one. */
  version: z.int(),
})

/**
 * billing → gateways: after each change of a key, team, user or budget, and every half second. A
 * gateway forgets all it knows of keys when the version is above the one it has seen.
 */
export const accessVersion = z.object({ version: z.int() })

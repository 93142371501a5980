// Budgets are held by reservation: before dispatch the worst case is set aside in every account that
// pays, and the usage event settles it to the true cost. Amounts are pico-dollars as decimal text.
import { z } from 'zod'

/** Digits only: what BigInt takes and numeric(38, 0) holds. */
export const amountText = z.string().regex(/^\d{1,38}$/)

/**
 * Who pays. `member`: a user within a team, its owner `<team id>/<user id>`. `model`: the model
 * group that a budget is for, or '' for everything the owner spends.
 */
export const accountRef = z.object({
  kind: z.enum(['key', 'team', 'user', 'member']),
  owner: z.string(),
  model: z.string(),
})
export type AccountRef = z.infer<typeof accountRef>

/** For maps: the same for the same account, whatever else the object has. */
export function accountId({ kind, owner, model }: AccountRef): string {
  return JSON.stringify([kind, owner, model])
}

/** The same reservation asked for twice (same request id) is one. */
export const reserveQuestion = z.object({
  requestId: z.string(),
  accounts: z.array(accountRef).min(1),
  /** The dearest the request can get, and the most tokens it can use, prompt included. */
  amount: amountText,
  tokens: z.int().min(0),
  /** Epoch milliseconds: unless settled, it is released then. */
  expiresAt: z.int(),
})
export type ReserveQuestion = z.infer<typeof reserveQuestion>

/** How an account stands; a limit that it does not have is null. */
export const standing = accountRef.extend({
  spent: amountText,
  /** Live reservations, without the one that was asked for. */
  reserved: amountText,
  limit: amountText.nullable(),
  tokensSpent: z.int(),
  tokensReserved: z.int(),
  tokensLimit: z.int().nullable(),
  /** Epoch milliseconds of the next period; null: the budget never resets. */
  resetsAt: z.int().nullable(),
})
export type Standing = z.infer<typeof standing>

export const reserveReply = z.discriminatedUnion('granted', [
  z.object({ granted: z.literal(true), accounts: z.array(standing) }),
  /** Nothing was set aside anywhere. */
  z.object({
    granted: z.literal(false),
    exceeded: z.enum(['money', 'tokens']),
    by: standing,
    /** Of what is reserved some is the allowance of a gateway that is there: it can be called back. */
    lent: z.boolean(),
  }),
])
export type ReserveReply = z.infer<typeof reserveReply>

/** What a gateway may grant of an account without asking; a part of what is reserved there. */
const allowance = z.object({ amount: amountText, tokens: z.int().min(0) })

/** An allowance for so many requests like this one, or as many as the account can lend; 0: it goes back. */
const allowanceWish = accountRef.extend(allowance.shape).extend({ requests: z.int().min(0) })
export type AllowanceWish = z.infer<typeof allowanceWish>

/** So many of each go into one message. */
export const maxDraws = 250

/**
 * gateway → billing: what it granted of its allowances, and what it would like them to be from now on.
 * Told twice it is done once. One that says nothing still says that the gateway is there.
 */
export const allowanceQuestion = z.object({
  /** The gateway: all its allowances are held as long as it is heard of. */
  holder: z.string().min(1),
  /** Of its messages each has a higher one; one that comes behind a higher one is not done any more. */
  number: z.int().min(1),
  /** The highest that was answered; 0: none. */
  answered: z.int().min(0),
  /** `since`: the number of the first message that told of it; all from then on did. */
  draws: z.array(reserveQuestion.extend({ since: z.int() })).max(maxDraws),
  wishes: z.array(allowanceWish).max(maxDraws),
})
export type AllowanceQuestion = z.infer<typeof allowanceQuestion>

export const allowanceReply = z.object({
  /** Nothing was done: it was not heard of for too long, or is not known, and all that it held is free. */
  ended: z.boolean(),
  /** Every account that was named and exists, with the allowance that the gateway has there now. */
  accounts: z.array(standing.extend({ allowance })),
})
export type AllowanceReply = z.infer<typeof allowanceReply>

/**
 * gateway → billing, in the USAGE stream and so behind the usage of every attempt that had ended:
 * the request is over and no usage event will settle it. `within` gives one that is still on its way
 * (a cancelled call) so many milliseconds.
 */
export const reservationRelease = z.object({
  released: z.object({ requestId: z.string(), within: z.int().min(0) }),
})
export type ReservationRelease = z.infer<typeof reservationRelease>

/** billing → gateways, once per account and budget period: it has spent its soft limit. */
export const softBudgetReached = accountRef.extend({ spent: amountText, soft: amountText })
export type SoftBudgetReached = z.infer<typeof softBudgetReached>

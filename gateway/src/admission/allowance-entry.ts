// What a gateway knows of its allowance in one account.
import type {
  AccountRef,
  AllowanceReply,
  AllowanceWish,
  Standing,
} from '@penstock/shared/contracts/budget'

export interface Entry {
  ref: AccountRef
  /** Null: nothing is known. */
  standing: Standing | null
  /** When billing was asked for it. */
  stoodAt: number
  /** The allowance, as billing has it. */
  held: bigint
  heldTokens: number
  /** Granted of it, and billing not known to have been told. */
  owed: bigint
  owedTokens: number
  /** A request like those that ask: the allowance should do for many of them. */
  amount: bigint
  tokens: number
  /** What billing made of the last wish. */
  lent: bigint
  lentTokens: number
  /** It goes back: nothing is granted of it until billing has it. */
  returning: boolean
  askedAt: number
  /** No wishes until then. */
  restsUntil: number
  /** Spent here, in all; until billing was last asked; and what of it billing's own figure has. */
  spent: bigint
  spentAsked: bigint
  spentCounted: bigint
  /** By how much what is shown was ahead of billing since then, at least. */
  lead: bigint
  leadSince: number
}

/** Usage is booked long before. */
const leadMs = 60_000

export function newEntry(ref: AccountRef): Entry {
  const nothing = { held: 0n, heldTokens: 0, owed: 0n, owedTokens: 0, lent: 0n, lentTokens: 0 }
  const never = Number.NEGATIVE_INFINITY
  const times = { stoodAt: never, askedAt: never, restsUntil: never }
  const spent = { spent: 0n, spentAsked: 0n, spentCounted: 0n, lead: 0n, leadSince: never }
  const request = { amount: 0n, tokens: 0 }
  return { ref, standing: null, ...nothing, ...request, returning: false, ...times, ...spent }
}

/** Bytes that an account takes in a message or in its answer, at most: its names, and what is said of it. */
export function weightOf({ ref: { owner, model } }: Entry): number {
  return 350 + 3 * (owner.length + model.length)
}

export function isHeld({ held, heldTokens }: Entry): boolean {
  return held > 0n || heldTokens > 0
}

/** Whether so much can be granted of it. */
export function covers(entry: Entry, amount: bigint, tokens: number): boolean {
  return (
    !entry.returning &&
    isHeld(entry) &&
    entry.held - entry.owed >= amount &&
    entry.heldTokens - entry.owedTokens >= tokens
  )
}

/**
 * Whether half of an allowance for so many requests like this one is left once it is granted, or half of
 * what the account lent when it could not lend as much.
 */
export function isHalfLeft(entry: Entry, amount: bigint, tokens: number, requests: number) {
  const { held, owed, lent, heldTokens, owedTokens, lentTokens } = entry
  const whole = amount * BigInt(requests)
  const wholeTokens = tokens * requests
  return (
    2n * (held - owed - amount) >= (whole < lent ? whole : lent) &&
    2 * (heldTokens - owedTokens - tokens) >= Math.min(wholeTokens, lentTokens)
  )
}

export function wishOf({ ref, amount, tokens, returning }: Entry, requests: number): AllowanceWish {
  return { ...ref, amount: String(amount), tokens, requests: returning ? 0 : requests }
}

/** So much of it was granted, or billing has been told of that: then the amounts are negative. */
export function owe(entry: Entry, amount: bigint, tokens: number): void {
  entry.owed += amount
  entry.owedTokens += tokens
}

/** @param askedAt when billing was asked for it */
export function hear(entry: Entry, account: AllowanceReply['accounts'][number], askedAt: number) {
  const { allowance, ...standing } = account
  entry.spentCounted = countedIn(entry, standing)
  endLead(entry, askedAt)
  entry.standing = standing
  entry.stoodAt = askedAt
  entry.held = BigInt(allowance.amount)
  entry.heldTokens = allowance.tokens
}

/** How the account stands, as far as it is known. */
export function shown({ standing, spent, spentCounted }: Entry): Standing[] {
  if (standing === null) return []
  return [{ ...standing, spent: String(BigInt(standing.spent) + spent - spentCounted) }]
}

/** What was spent before billing was asked, or less: within a period nobody sees less than before. */
function countedIn(entry: Entry, standing: Standing): bigint {
  const [before] = shown(entry)
  if (before?.resetsAt !== standing.resetsAt) return entry.spentAsked
  const most = BigInt(standing.spent) + entry.spent - BigInt(before.spent)
  return most < entry.spentAsked ? most : entry.spentAsked
}

/** What billing did not count in a minute it never will: it was corrected, or cost less than was thought. */
function endLead(entry: Entry, at: number): void {
  const lead = entry.spentAsked - entry.spentCounted
  if (lead < entry.lead) entry.lead = lead
  if (at - entry.leadSince < leadMs) return
  entry.spentCounted += entry.lead
  entry.lead = entry.spentAsked - entry.spentCounted
  entry.leadSince = at
}

/** Its budget was lowered, or its usage cost more than was thought. */
export function isOverdrawn(standing: Standing): boolean {
  const { spent, reserved, limit, tokensSpent, tokensReserved, tokensLimit } = standing
  const isMoney = limit !== null && BigInt(spent) + BigInt(reserved) > BigInt(limit)
  return isMoney || (tokensLimit !== null && tokensSpent + tokensReserved > tokensLimit)
}

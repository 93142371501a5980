// What a gateway knows of its allowance in one account.
import type { AccountRef, Standing } from '@penstock/shared/contracts/budget'

export interface Entry {
  ref: AccountRef
  /** Null: nothing is known. */
  standing: Standing | null
  /** The allowance, as billing has it. */
  held: bigint
  heldTokens: number
  /** Granted of it, and billing not known to have been told. */
  owed: bigint
  owedTokens: number
  /** What the allowance should be. */
  wish: { amount: bigint; tokens: number }
  /** It goes back: nothing is granted of it until billing has it. */
  returning: boolean
  usableUntil: number
  askedAt: number
  /** No wishes until then. */
  restsUntil: number
  /** Spent here, in all; until billing was last asked; and what of it billing's own figure has. */
  spent: bigint
  spentAsked: bigint
  spentCounted: bigint
}

export function newEntry(ref: AccountRef): Entry {
  const nothing = { held: 0n, heldTokens: 0, owed: 0n, owedTokens: 0 }
  const times = { usableUntil: 0, askedAt: Number.NEGATIVE_INFINITY, restsUntil: 0 }
  const spent = { spent: 0n, spentAsked: 0n, spentCounted: 0n }
  const wish = { amount: 0n, tokens: 0 }
  return { ref, standing: null, ...nothing, wish, returning: false, ...times, ...spent }
}

/** Whether so much can be granted of it, at this time. */
export function covers(entry: Entry, amount: bigint, tokens: number, at: number): boolean {
  return (
    !entry.returning &&
    at < entry.usableUntil &&
    entry.held - entry.owed >= amount &&
    entry.heldTokens - entry.owedTokens >= tokens
  )
}

/** How the account stands, as far as it is known. */
export function shown({ standing, spent, spentCounted }: Entry): Standing[] {
  if (standing === null) return []
  return [{ ...standing, spent: String(BigInt(standing.spent) + spent - spentCounted) }]
}

/** What was spent before billing was asked, or less: within a period nobody sees less than before. */
export function countedIn(entry: Entry, standing: Standing): bigint {
  const [before] = shown(entry)
  if (before?.resetsAt !== standing.resetsAt) return entry.spentAsked
  const most = BigInt(standing.spent) + entry.spent - BigInt(before.spent)
  return most < entry.spentAsked ? most : entry.spentAsked
}

/** Its budget was lowered, or its usage cost more than was thought. */
export function isOverdrawn(standing: Standing): boolean {
  const { spent, reserved, limit, tokensSpent, tokensReserved, tokensLimit } = standing
  const isMoney = limit !== null && BigInt(spent) + BigInt(reserved) > BigInt(limit)
  return isMoney || (tokensLimit !== null && tokensSpent + tokensReserved > tokensLimit)
}

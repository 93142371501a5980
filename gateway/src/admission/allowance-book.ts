// What this gateway may grant of each account without asking. Billing reserved it beforehand, so a
// request that is granted from it waits for nobody and is paid for all the same; billing is told soon
// after, and then the allowance is as much smaller as the request's own reservation. Only accounts
// that could lend the same many times over lend at all, and what nobody uses goes back.
import { ChurnMap } from '@penstock/shared/churn-map'
import {
  type AccountRef,
  type AllowanceQuestion,
  type AllowanceReply,
  maxDraws,
  type ReserveQuestion,
  type Standing,
} from '@penstock/shared/contracts/budget'

/** What is granted is used at once, and billing told of it within milliseconds. */
export interface Taken {
  /** How the accounts stood when billing was last heard of. */
  accounts(): Standing[]
}

export type Message = Omit<AllowanceQuestion, 'holder'>

/** An allowance pays for so many requests like the one that it was wished for. */
const requestsPerWish = 16
/** What billing has not been told of, and accounts looked at, at most. */
const maxUntold = 1_000
const maxAccounts = 5_000
/** In milliseconds: it is only used so long after billing was last asked; the lease is three times that. */
const usableMs = 10_000
/** Nobody asked for so long: it goes back. Someone who asks less often can wait for billing, too. */
const idleMs = 2_000
/** An account that was called back or does not lend is not asked again for so long. */
const restMs = 2_000

interface Entry {
  ref: AccountRef
  /** Null: nothing is known. */
  standing: Standing | null
  /** The allowance, as billing has it. */
  held: bigint
  heldTokens: number
  /** Granted of it; billing was not told yet. */
  owed: bigint
  owedTokens: number
  wish: { amount: bigint; tokens: number }
  returning: boolean
  usableUntil: number
  askedAt: number
  /** No wishes until then. */
  restsUntil: number
}

interface Untold {
  question: ReserveQuestion
  entries: Entry[]
  told: PromiseWithResolvers<void> | null
}

/** @param now milliseconds of a clock that nobody sets */
export function createAllowanceBook(now: () => number) {
  const entries = new Map<string, Entry>()
  const untold = new ChurnMap<string, Untold>()
  /** Accounts that are to grow or to go back. */
  const due = new Set<Entry>()

  function entryOf(ref: AccountRef): Entry | null {
    const id = idOf(ref)
    const known = entries.get(id)
    if (known !== undefined || entries.size >= maxAccounts) return known ?? null
    const nothing = { held: 0n, heldTokens: 0, owed: 0n, owedTokens: 0 }
    const wish = { amount: 0n, tokens: 0 }
    const times = { usableUntil: 0, askedAt: Number.NEGATIVE_INFINITY, restsUntil: 0 }
    const entry = { ref, standing: null, ...nothing, wish, returning: false, ...times }
    entries.set(id, entry)
    return entry
  }

  /** Notes that the account was asked for so much; one that is asked often is worth an allowance. */
  function ask(entry: Entry, amount: bigint, tokens: number, at: number): void {
    const isOften = at - entry.askedAt < idleMs
    entry.askedAt = at
    if (!isOften || entry.returning || at < entry.restsUntil) return
    const wish = { amount: amount * BigInt(requestsPerWish), tokens: tokens * requestsPerWish }
    const left = entry.held - entry.owed - amount
    const leftTokens = entry.heldTokens - entry.owedTokens - tokens
    if (2n * left >= wish.amount && 2 * leftTokens >= wish.tokens) return
    entry.wish = wish
    due.add(entry)
  }

  const has = (entry: Entry, amount: bigint, tokens: number, at: number) =>
    !entry.returning &&
    at < entry.usableUntil &&
    entry.held - entry.owed >= amount &&
    entry.heldTokens - entry.owedTokens >= tokens

  function giveBack(entry: Entry, at: number): void {
    entry.restsUntil = at + restMs
    if (entry.held === 0n && entry.heldTokens === 0 && !due.has(entry)) return
    entry.returning = true
    due.add(entry)
  }

  function forget({ question, entries: payers, told }: Untold): void {
    untold.delete(question.requestId)
    const amount = BigInt(question.amount)
    for (const entry of payers) {
      entry.owed -= amount
      entry.owedTokens -= question.tokens
    }
    told?.resolve()
  }

  return {
    /** @returns null: not all accounts have that much here, and billing has to be asked */
    take(question: ReserveQuestion): Taken | null {
      const at = now()
      const amount = BigInt(question.amount)
      const { tokens } = question
      const payers: Entry[] = []
      for (const ref of question.accounts) {
        const entry = entryOf(ref)
        if (entry === null) return null
        ask(entry, amount, tokens, at)
        payers.push(entry)
      }
      if (untold.size >= maxUntold) return null
      if (!payers.every((entry) => has(entry, amount, tokens, at))) return null
      for (const entry of payers) {
        entry.owed += amount
        entry.owedTokens += tokens
      }
      untold.set(question.requestId, { question, entries: payers, told: null })
      return { accounts: () => payers.flatMap(({ standing }) => standing ?? []) }
    },

    /** Resolves when billing knows of the request, or never will; null: that is so already. */
    told(requestId: string): Promise<void> | null {
      const one = untold.get(requestId)
      if (one === undefined) return null
      one.told ??= Promise.withResolvers<void>()
      return one.told.promise
    },

    /** What billing is to be told next; null: nothing. One at a time: the next after `heard`. */
    next(): Message | null {
      const draws: ReserveQuestion[] = []
      for (const { question } of untold.values()) {
        if (draws.length === maxDraws) break
        draws.push(question)
      }
      // Nothing goes back that is not yet known to be granted.
      const isAll = draws.length === untold.size
      const wishes = [...due].slice(0, maxDraws).flatMap(({ ref, wish, returning }) => {
        if (returning) return isAll ? [{ ...ref, amount: '0', tokens: 0 }] : []
        return [{ ...ref, amount: String(wish.amount), tokens: wish.tokens }]
      })
      return draws.length + wishes.length === 0 ? null : { draws, wishes }
    },

    /** @param askedAt when the message went out */
    heard(message: Message, { accounts }: AllowanceReply, askedAt: number): void {
      for (const { requestId } of message.draws) {
        const one = untold.get(requestId)
        if (one !== undefined) forget(one)
      }
      for (const { allowance, ...standing } of accounts) {
        const entry = entries.get(idOf(standing))
        if (entry === undefined) continue
        entry.standing = standing
        entry.held = BigInt(allowance.amount)
        entry.heldTokens = allowance.tokens
        entry.usableUntil = askedAt + usableMs
        if (isOverdrawn(standing)) giveBack(entry, now())
      }
      for (const wished of message.wishes) {
        const entry = entries.get(idOf(wished))
        if (entry === undefined) continue
        const isReturn = wished.amount === '0' && wished.tokens === 0
        // It was called back while the message was on its way.
        if (entry.returning && !isReturn) continue
        due.delete(entry)
        entry.returning = false
        const isGranted = entry.held >= BigInt(wished.amount) && entry.heldTokens >= wished.tokens
        if (!isReturn && !isGranted) entry.restsUntil = now() + restMs
      }
    },

    recall(ref: AccountRef): void {
      const entry = entries.get(idOf(ref))
      if (entry !== undefined) giveBack(entry, now())
    },

    /** What nobody asked for lately goes back, and is forgotten. */
    tidy(): void {
      const at = now()
      for (const [id, entry] of entries) {
        if (at - entry.askedAt < idleMs) continue
        if (entry.held > 0n || entry.heldTokens > 0) giveBack(entry, at)
        else if (entry.owed === 0n && entry.owedTokens === 0 && !due.has(entry)) entries.delete(id)
      }
    },

    giveBackAll(): void {
      for (const entry of entries.values()) giveBack(entry, now())
    },

    /**
     * Nobody knows what billing made of the last message: from now on nothing is held. What it still has
     * to be told of stays owed.
     */
    reset(): void {
      const at = now()
      due.clear()
      for (const entry of entries.values()) {
        entry.held = 0n
        entry.heldTokens = 0
        entry.returning = false
        entry.restsUntil = at + restMs
      }
    },

    /** Billing will never take these: what they took is held until their allowances' leases end. */
    drop(message: Message): void {
      for (const { requestId } of message.draws) {
        const one = untold.get(requestId)
        if (one !== undefined) forget(one)
      }
    },
  }
}

export type AllowanceBook = ReturnType<typeof createAllowanceBook>

function idOf({ kind, owner, model }: AccountRef): string {
  return `${kind}\n${owner}\n${model}`
}

/** Its budget was lowered, or its usage cost more than was thought. */
function isOverdrawn(standing: Standing): boolean {
  const { spent, reserved, limit, tokensSpent, tokensReserved, tokensLimit } = standing
  const isMoney = limit !== null && BigInt(spent) + BigInt(reserved) > BigInt(limit)
  return isMoney || (tokensLimit !== null && tokensSpent + tokensReserved > tokensLimit)
}

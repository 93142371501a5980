// What this gateway may grant of each account without asking. Billing reserved it beforehand, so a
// request that is granted from it waits for nobody and is paid for all the same; billing is told soon
// after, and then the allowance is as much smaller as the request's own reservation. Only accounts
// that could lend the same many times over lend at all, and what nobody uses goes back.
import { ChurnMap } from '@penstock/shared/churn-map'
import {
  type AccountRef,
  type AllowanceQuestion,
  type AllowanceReply,
  accountId,
  maxDraws,
  type ReserveQuestion,
  type Standing,
} from '@penstock/shared/contracts/budget'
import { countedIn, covers, type Entry, isOverdrawn, newEntry, shown } from './allowance-entry.ts'

/** What is granted is used at once, and billing told of it within milliseconds. */
export interface Taken {
  /** How the accounts stood when billing was last heard of, with what was spent here since. */
  accounts(): Standing[]
  /** The answer's cost, in pico-dollars. */
  spent(cost: bigint): void
}

export type Message = Omit<AllowanceQuestion, 'holder' | 'number'>

/** An allowance pays for so many requests like the one that it was wished for. */
const requestsPerWish = 16
/** What billing has not been told of, and accounts looked at, at most. */
const maxUntold = 1_000
const maxAccounts = 5_000
/** In milliseconds: it is only used so long after billing was last asked; the lease is twice that. */
const usableMs = 10_000
/** Nobody asked for so long: it goes back. Someone who asks less often can wait for billing, too. */
const idleMs = 2_000
/** An account that was called back or does not lend is not asked again for so long. */
const restMs = 2_000

/** A request that was granted, and billing is not known to have been told of. */
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
    const id = accountId(ref)
    const known = entries.get(id)
    if (known !== undefined || entries.size >= maxAccounts) return known ?? null
    const entry = newEntry(ref)
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
    const isEnough = 2n * left >= wish.amount && 2 * leftTokens >= wish.tokens
    // One that was not told of for long is used by nobody, and perhaps expired.
    if (isEnough && at < entry.usableUntil) return
    entry.wish = wish
    due.add(entry)
  }

  function giveBack(entry: Entry, restsUntil: number): void {
    entry.restsUntil = restsUntil
    if (entry.held === 0n && entry.heldTokens === 0 && !due.has(entry)) return
    entry.returning = true
    due.add(entry)
  }

  /** It is in what billing says by now, or never will be. */
  function settle({ question, entries: payers, told }: Untold): void {
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
      if (!payers.every((entry) => covers(entry, amount, tokens, at))) return null
      for (const entry of payers) {
        entry.owed += amount
        entry.owedTokens += tokens
      }
      untold.set(question.requestId, { question, entries: payers, told: null })
      return {
        accounts: () => payers.flatMap(shown),
        spent(cost) {
          for (const entry of payers) entry.spent += cost
        },
      }
    },

    /** Resolves when billing knows of the request, or never will; null: that is so already. */
    told(requestId: string): Promise<void> | null {
      const one = untold.get(requestId)
      if (one === undefined) return null
      one.told ??= Promise.withResolvers<void>()
      return one.told.promise
    },

    /** Whether there is anything to tell billing. */
    get hasNews(): boolean {
      return untold.size > 0 || due.size > 0
    },

    /** What billing is to be told next; null: nothing. One at a time: the next after `heard`. */
    next(): Message | null {
      const draws: ReserveQuestion[] = []
      /** Granted of these, but not told with this message: they cannot go back yet. */
      const later = new Set<Entry>()
      for (const { question, entries: payers } of untold.values()) {
        const isTold = draws.length < maxDraws
        if (isTold) draws.push(question)
        for (const payer of payers) {
          if (isTold) payer.spentAsked = payer.spent
          else later.add(payer)
        }
      }
      const wishes = [...due].slice(0, maxDraws).flatMap((entry) => {
        const { ref, wish, returning } = entry
        entry.spentAsked = entry.spent
        if (returning) return later.has(entry) ? [] : [{ ...ref, amount: '0', tokens: 0 }]
        return [{ ...ref, amount: String(wish.amount), tokens: wish.tokens }]
      })
      return draws.length + wishes.length === 0 ? null : { draws, wishes }
    },

    /** @param askedAt when the message went out */
    heard(message: Message, { accounts }: AllowanceReply, askedAt: number): void {
      for (const { requestId } of message.draws) {
        const one = untold.get(requestId)
        if (one !== undefined) settle(one)
      }
      for (const { allowance, ...standing } of accounts) {
        const entry = entries.get(accountId(standing))
        if (entry === undefined) continue
        entry.spentCounted = countedIn(entry, standing)
        entry.standing = standing
        entry.held = BigInt(allowance.amount)
        entry.heldTokens = allowance.tokens
        entry.usableUntil = askedAt + usableMs
        if (isOverdrawn(standing)) giveBack(entry, now() + restMs)
      }
      for (const wished of message.wishes) {
        const entry = entries.get(accountId(wished))
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
      const entry = entries.get(accountId(ref))
      if (entry !== undefined) giveBack(entry, now() + restMs)
    },

    /** What nobody asked for lately goes back, and is forgotten. */
    tidy(): void {
      const at = now()
      for (const [id, entry] of entries) {
        if (at - entry.askedAt < idleMs) continue
        if (entry.held > 0n || entry.heldTokens > 0) giveBack(entry, at + restMs)
        else if (entry.owed === 0n && entry.owedTokens === 0 && !due.has(entry)) entries.delete(id)
      }
    },

    /** They may be wished for again at once. */
    giveBackAll(): void {
      for (const entry of entries.values()) giveBack(entry, 0)
    },

    /**
     * Billing will never take this, so that nothing is known of what it has: nothing is granted of that
     * any more, and it is held until the leases end.
     */
    drop({ draws }: Message): void {
      const restsUntil = now() + restMs
      due.clear()
      for (const entry of entries.values()) {
        Object.assign(entry, { held: 0n, heldTokens: 0, returning: false, restsUntil })
      }
      for (const { requestId } of draws) {
        const one = untold.get(requestId)
        if (one !== undefined) settle(one)
      }
    },
  }
}

export type AllowanceBook = ReturnType<typeof createAllowanceBook>

// What this gateway may grant of each account without asking. Billing reserved it beforehand, so a
// request that is granted from it waits for nobody and is paid for all the same; billing is told soon
// after, and then the allowance is as much smaller as the request's own reservation. What nobody uses
// for long goes back.
import {
  type AccountRef,
  type AllowanceReply,
  type AllowanceWish,
  accountId,
  maxDraws,
  type ReserveQuestion,
  type Standing,
} from '@penstock/shared/contracts/budget'
import {
  covers,
  type Entry,
  hear,
  isHalfLeft,
  isHeld,
  isOverdrawn,
  newEntry,
  shown,
  weightOf,
  wishOf,
} from './allowance-entry.ts'
import { createUntoldGrants } from './untold-grants.ts'

/** What is granted is used at once, and billing told of it soon. */
export interface Taken {
  /** How the accounts stood when billing was last heard of, with what was spent here since. */
  accounts(): Standing[]
  /** The answer's cost, in pico-dollars. */
  spent(cost: bigint): void
}

export interface Message {
  draws: ReserveQuestion[]
  wishes: AllowanceWish[]
}

/** An allowance pays for so many requests like the one that it was wished for, or as many as it can. */
const requestsPerWish = 64
/** Accounts looked after at most. */
const maxAccounts = 20_000
/** Of what NATS takes in one message, a megabyte; half of it for what was granted. */
const maxWeight = 700_000
/** In milliseconds: allowances are used so long after billing was last heard of; it keeps them for twice that. */
const usableMs = 10_000
/** Where there is nothing to tell, billing hears so often that this gateway is there. */
const pingMs = 3_000
/** An account is looked after for so long; then its allowance goes back. */
const idleMs = 60_000
/** Not asked again for so long: an account that was called back, and one that cannot lend now. */
const recalledMs = 2_000
const emptyMs = 250
/** What is known of an account may be so old; after that, billing is told at once, and says anew. */
const freshMs = 100
const never = Number.NEGATIVE_INFINITY

/** @param now milliseconds of a clock that nobody sets */
export function createAllowanceBook(now: () => number) {
  const entries = new Map<string, Entry>()
  const untold = createUntoldGrants()
  /** Accounts that are to grow or to go back. */
  let due = new Set<Entry>()
  let heardAt = never
  let usableUntil = never
  /** What was heard before may not be so any more. */
  let doubtedAt = never
  /** Billing is to hear of this gateway, although there is nothing to tell. */
  let isPingDue = false
  let isUrgent = false

  function entryOf(ref: AccountRef): Entry | null {
    const id = accountId(ref)
    const known = entries.get(id)
    if (known !== undefined || entries.size >= maxAccounts) return known ?? null
    const entry = newEntry(ref)
    entries.set(id, entry)
    return entry
  }

  /** Notes that the account was asked for so much; one that is asked again is worth an allowance. */
  function ask(entry: Entry, amount: bigint, tokens: number, at: number): void {
    const isOften = at - entry.askedAt < idleMs
    entry.askedAt = at
    if (!isOften || entry.returning || at < entry.restsUntil) return
    const isCertain = entry.stoodAt > doubtedAt
    if (isCertain && isHalfLeft(entry, amount, tokens, requestsPerWish)) return
    Object.assign(entry, { amount, tokens })
    if (!due.has(entry)) isUrgent = true
    due.add(entry)
  }

  function giveBack(entry: Entry, restsUntil: number): void {
    entry.restsUntil = restsUntil
    if (!isHeld(entry) && !due.has(entry)) return
    entry.returning = true
    due.add(entry)
    isUrgent = true
  }

  /** Nothing is known of what billing has: nothing is granted of it any more. */
  function lose(restsUntil: number): void {
    usableUntil = never
    for (const entry of entries.values()) {
      Object.assign(entry, { held: 0n, heldTokens: 0, returning: false, restsUntil })
    }
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
      if (at >= usableUntil || untold.isFull) return null
      const canPay = (entry: Entry) => entry.stoodAt > doubtedAt && covers(entry, amount, tokens)
      if (!payers.every(canPay)) return null
      untold.add(question, payers)
      if (payers.some(({ stoodAt }) => at - stoodAt > freshMs)) isUrgent = true
      return {
        accounts: () => payers.flatMap(shown),
        spent(cost) {
          for (const entry of payers) entry.spent += cost
        },
      }
    },

    told: untold.told,

    /** Whether there is anything to tell billing, and whether it should not wait for more. */
    get hasNews(): boolean {
      return untold.size > 0 || due.size > 0 || isPingDue
    },
    get isUrgent(): boolean {
      return isUrgent
    },

    /** What billing is to be told next; null: nothing. One at a time: the next after `heard`. */
    next(): Message | null {
      isUrgent = false
      const told = untold.oldest(maxWeight / 2)
      const { draws, later } = told
      let { weight } = told
      const wishes = [...due].slice(0, maxDraws).flatMap((entry) => {
        if (weight >= maxWeight) return []
        weight += weightOf(entry)
        entry.spentAsked = entry.spent
        // It cannot go back before all is told that was granted of it.
        return entry.returning && later.has(entry) ? [] : [wishOf(entry, requestsPerWish)]
      })
      const isNothing = draws.length + wishes.length === 0 && !isPingDue
      return isNothing ? null : { draws, wishes }
    },

    /** @param askedAt when the message went out */
    heard(message: Message, { accounts }: AllowanceReply, askedAt: number): void {
      heardAt = askedAt
      usableUntil = askedAt + usableMs
      isPingDue = false
      untold.settle(message.draws)
      for (const account of accounts) {
        const entry = entries.get(accountId(account))
        if (entry === undefined) continue
        hear(entry, account, askedAt)
        if (isOverdrawn(account)) giveBack(entry, now() + recalledMs)
      }
      for (const wish of message.wishes) {
        const entry = entries.get(accountId(wish))
        // It may have been called back while the message was on its way.
        if (entry === undefined || (entry.returning && wish.requests > 0)) continue
        due.delete(entry)
        entry.returning = false
        entry.lent = entry.held
        entry.lentTokens = entry.heldTokens
        const isLent = entry.held >= BigInt(wish.amount) && entry.heldTokens >= wish.tokens
        if (wish.requests > 0 && !isLent) entry.restsUntil = now() + emptyMs
      }
    },

    /** Somebody waits for it: it goes with the next message. */
    recall(ref: AccountRef): void {
      const entry = entries.get(accountId(ref))
      if (entry === undefined) return
      giveBack(entry, now() + recalledMs)
      if (due.has(entry)) due = new Set([entry, ...due])
    },

    /** Something was changed, perhaps a budget: nothing is granted of any account before billing says anew. */
    doubt(): void {
      doubtedAt = now()
    },

    /** What nobody asked for lately goes back, and is forgotten; billing is to hear of the rest. */
    tidy(): void {
      const at = now()
      let isHolding = false
      for (const [id, entry] of entries) {
        if (isHeld(entry)) isHolding = true
        if (at - entry.askedAt < idleMs) continue
        if (isHeld(entry)) giveBack(entry, at + recalledMs)
        else if (entry.owed === 0n && entry.owedTokens === 0 && !due.has(entry)) entries.delete(id)
      }
      isPingDue = isHolding && at - heardAt >= pingMs
    },

    giveBackAll(): void {
      for (const entry of entries.values()) giveBack(entry, now() + recalledMs)
    },

    /** Billing has freed all that it had lent; what was granted is still to be told, and what is wished. */
    ended(): void {
      for (const entry of due) if (entry.returning) due.delete(entry)
      lose(never)
    },

    /** Billing will never take this; what it has lent it keeps until it has not heard of it for long. */
    drop({ draws }: Message): void {
      due.clear()
      lose(now() + recalledMs)
      isPingDue = false
      untold.settle(draws)
    },
  }
}

export type AllowanceBook = ReturnType<typeof createAllowanceBook>

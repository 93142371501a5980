// What this gateway may grant of each account without asking. Billing reserved it beforehand, so a
// request that is granted from it waits for nobody and is paid for all the same; billing is told soon
// after, and then the allowance is as much smaller as the request's own reservation. What nobody uses
// for long goes back.
import { ChurnMap } from '@penstock/shared/churn-map'
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
  countedIn,
  covers,
  type Entry,
  endLead,
  isHalfLeft,
  isHeld,
  isOverdrawn,
  newEntry,
  shown,
  wishOf,
} from './allowance-entry.ts'

/** What is granted is used at once, and billing told of it within milliseconds. */
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
/** What billing has not been told of, and accounts looked at, at most. */
const maxUntold = 1_000
const maxAccounts = 20_000
/** Of what NATS takes in one message, a megabyte, by `weightOf`; half of it for what was granted. */
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
const freshMs = 50

/** Bytes that an account takes in a message or in its answer, at most: its names, and what is said of it. */
function weightOf({ owner, model }: AccountRef): number {
  return 350 + 3 * (owner.length + model.length)
}

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
  /** Of those, the ones that somebody waits for. */
  const recalled = new Set<Entry>()
  let heardAt = Number.NEGATIVE_INFINITY
  let usableUntil = Number.NEGATIVE_INFINITY
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
    if (isHalfLeft(entry, amount, tokens, requestsPerWish)) return
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
    usableUntil = Number.NEGATIVE_INFINITY
    due.clear()
    recalled.clear()
    for (const entry of entries.values()) {
      Object.assign(entry, { held: 0n, heldTokens: 0, returning: false, restsUntil })
    }
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
      if (at >= usableUntil || untold.size >= maxUntold) return null
      if (!payers.every((entry) => covers(entry, amount, tokens))) return null
      for (const entry of payers) {
        entry.owed += amount
        entry.owedTokens += tokens
        if (at - entry.stoodAt > freshMs) isUrgent = true
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
      const draws: ReserveQuestion[] = []
      /** Granted of these, but not told with this message: they cannot go back yet. */
      const later = new Set<Entry>()
      let weight = 0
      for (const { question, entries: payers } of untold.values()) {
        // Once one is not told, none behind it is: what is told again begins with what was told before.
        const isTold = later.size === 0 && draws.length < maxDraws && weight < maxWeight / 2
        if (isTold) {
          draws.push(question)
          for (const { ref } of payers) weight += weightOf(ref)
        }
        for (const payer of payers) {
          if (isTold) payer.spentAsked = payer.spent
          else later.add(payer)
        }
      }
      const wishes = [...new Set([...recalled, ...due])].slice(0, maxDraws).flatMap((entry) => {
        if (weight >= maxWeight) return []
        weight += weightOf(entry.ref)
        entry.spentAsked = entry.spent
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
      for (const { requestId } of message.draws) {
        const one = untold.get(requestId)
        if (one !== undefined) settle(one)
      }
      for (const { allowance, ...standing } of accounts) {
        const entry = entries.get(accountId(standing))
        if (entry === undefined) continue
        entry.spentCounted = countedIn(entry, standing)
        endLead(entry, askedAt)
        entry.standing = standing
        entry.stoodAt = askedAt
        entry.held = BigInt(allowance.amount)
        entry.heldTokens = allowance.tokens
        if (isOverdrawn(standing)) giveBack(entry, now() + recalledMs)
      }
      for (const wish of message.wishes) {
        const entry = entries.get(accountId(wish))
        // It may have been called back while the message was on its way.
        if (entry === undefined || (entry.returning && wish.requests > 0)) continue
        due.delete(entry)
        recalled.delete(entry)
        entry.returning = false
        entry.lent = entry.held
        entry.lentTokens = entry.heldTokens
        const isLent = entry.held >= BigInt(wish.amount) && entry.heldTokens >= wish.tokens
        if (wish.requests > 0 && !isLent) entry.restsUntil = now() + emptyMs
      }
    },

    recall(ref: AccountRef): void {
      const entry = entries.get(accountId(ref))
      if (entry === undefined) return
      giveBack(entry, now() + recalledMs)
      if (entry.returning) recalled.add(entry)
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

    /** They may be wished for again at once. */
    giveBackAll(): void {
      for (const entry of entries.values()) giveBack(entry, Number.NEGATIVE_INFINITY)
    },

    /** Billing has freed all that it had lent; what was granted is still to be told. */
    ended(): void {
      lose(Number.NEGATIVE_INFINITY)
    },

    /** Billing will never take this; what it has lent it keeps until it has not heard of it for long. */
    drop({ draws }: Message): void {
      lose(now() + recalledMs)
      isPingDue = false
      for (const { requestId } of draws) {
        const one = untold.get(requestId)
        if (one !== undefined) settle(one)
      }
    },
  }
}

export type AllowanceBook = ReturnType<typeof createAllowanceBook>

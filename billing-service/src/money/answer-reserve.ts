// Answers gateways that ask whether a request may cost so much. While one statement is on its way
// the next questions gather, and go together: many callers cost little more than one. Nobody is
// refused for what gateways hold and do not use: it is called back first.
import { setTimeout as sleep } from 'node:timers/promises'
import { broadcast } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { answer } from '@penstock/shared/bus/request-reply'
import {
  type AccountRef,
  accountId,
  type ReserveQuestion,
  type ReserveReply,
} from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { databaseErrorCode, databaseProblem, isDataError } from '../database-error.ts'

/** An answer each, in their order; undefined: nobody knows. */
export type Reserve = (
  questions: readonly ReserveQuestion[],
) => Promise<(ReserveReply | undefined)[]>

const queue = 'billing'
/** Questions that wait here at most, and how many of them go into one statement. */
const maxWaiting = 1_000
const maxTogether = 250
/** Whoever asked has given up by then, in milliseconds. */
const patienceMs = 2_000
const retryMs = 500
/**
 * Gateways give an allowance back within milliseconds. One that is short of time, or died a moment ago,
 * does not; nobody is kept waiting for longer than this in all, in milliseconds.
 */
const recallMs = 1_500
/** The first pause; each further one is twice as long, up to the longest. */
const recallPauseMs = 10
const longestPauseMs = 200
/**
 * Where an account was called back in vain, nobody waits for that again for so long, in milliseconds. With
 * the last pause that is less than the two seconds after which other gateways hold some of it again.
 */
const inVainMs = 1_500
const maxInVain = 1_000
const notGivenBack = 'A gateway holds a part of the budget and does not give it back yet.'
/** An outage is said again after so long, in milliseconds. */
const sayAgainMs = 30_000

interface Waiting {
  question: ReserveQuestion
  askedAt: number
  recalls: number
  resolve(reply: ReserveReply): void
  reject(error: PenstockError): void
}

/** Who will be asked about again at the same time, and what is called back for them. */
interface Alike {
  batch: Waiting[]
  accounts: Map<string, AccountRef>
}

/** @returns stop: what waits by then is refused as unavailable, and may be asked of another service */
export function answerReserve(bus: Bus, log: Logger, reserve: Reserve): () => void {
  const recall = (account: AccountRef) => broadcast(bus, channels.recall, account)
  const desk = createReserveDesk({ log, reserve, recall })
  const sub = answer(bus, channels.reserve, channels.reserve.subject(), desk.ask, queue)
  return () => {
    sub.unsubscribe()
    desk.close()
  }
}

export interface ReserveDeskOptions {
  log: Logger
  reserve: Reserve
  /** Tells gateways to give back what they hold of the account. */
  recall(account: AccountRef): void
  now?: () => number
  pause?: (ms: number) => Promise<unknown>
}

export function createReserveDesk(options: ReserveDeskOptions) {
  const { log, reserve, recall, now = Date.now, pause = sleep } = options
  let waiting: Waiting[] = []
  /** Until when nobody waits for what gateways hold of an account. */
  const inVain = new Map<string, number>()
  /** Those that will be asked again. */
  let recalling = 0
  let working = false
  let closed = false
  let saidAt = Number.NEGATIVE_INFINITY

  async function work(): Promise<void> {
    working = true
    while (waiting.length > 0) {
      const batch = waiting.splice(0, maxTogether).filter(isWorthIt)
      if (batch.length > 0) await handle(batch)
    }
    working = false
  }

  /** Reserving for someone who has gone would hold the money until the lease expires. */
  function isWorthIt({ question, askedAt, reject }: Waiting): boolean {
    if (question.expiresAt <= now()) {
      reject(new PenstockError('deadline_exceeded', 'The deadline has passed.'))
      return false
    }
    if (now() - askedAt < patienceMs) return true
    reject(unavailable('The budget could not be checked in time.'))
    return false
  }

  async function handle(batch: Waiting[]): Promise<void> {
    try {
      const replies = await reserve(batch.map(({ question }) => question))
      /** By how often they were called back for: those who waited in vain for long wait longer. */
      const lent = new Map<number, Alike>()
      for (const [index, one] of batch.entries()) {
        const reply = replies[index]
        if (reply === undefined) one.reject(unavailable('The budget could not be checked.'))
        else if (reply.granted || !reply.lent) one.resolve(reply)
        else if (!mayRecall(one, reply.by)) one.reject(unavailable(notGivenBack))
        else {
          const alike: Alike = lent.get(one.recalls) ?? { batch: [], accounts: new Map() }
          alike.batch.push(one)
          alike.accounts.set(accountId(reply.by), reply.by)
          lent.set(one.recalls, alike)
        }
      }
      for (const [recalls, { batch, accounts }] of lent) {
        void askAgain(batch, accounts.values(), recalls)
      }
    } catch (error) {
      await failed(batch, error)
    }
  }

  function mayRecall({ askedAt }: Waiting, account: AccountRef): boolean {
    const id = accountId(account)
    if (now() < (inVain.get(id) ?? 0)) return false
    if (now() - askedAt <= recallMs) return true
    if (inVain.size >= maxInVain) inVain.clear()
    inVain.set(id, now() + inVainMs)
    return false
  }

  /** Once the gateways had time to give back what they hold of these accounts. */
  async function askAgain(batch: Waiting[], accounts: Iterable<AccountRef>, recalls: number) {
    for (const { kind, owner, model } of accounts) recall({ kind, owner, model })
    recalling += batch.length
    await pause(Math.min(longestPauseMs, recallPauseMs * 2 ** recalls))
    recalling -= batch.length
    for (const one of batch) admit({ ...one, recalls: recalls + 1 })
  }

  function admit(one: Waiting): void {
    if (closed) {
      one.reject(unavailable('Shutting down.'))
      return
    }
    waiting.push(one)
    if (!working) void work()
  }

  async function failed(batch: Waiting[], error: unknown): Promise<void> {
    if (isDataError(error)) {
      const [first] = batch
      if (batch.length === 1) {
        const message = 'This cannot be reserved.'
        first?.reject(new PenstockError('invalid_request', message, { cause: error }))
      } else {
        // One of them spoils the statement: ask one by one to find it.
        for (const one of batch) await handle([one])
      }
      return
    }
    const problem = databaseProblem(error)
    if (now() - saidAt > sayAgainMs) {
      saidAt = now()
      log.error({ problem, code: databaseErrorCode(error) }, 'cannot reserve')
    }
    for (const { reject } of batch) {
      reject(unavailable(`Budgets cannot be checked: database: ${problem}.`, error))
    }
  }

  return {
    /** @throws PenstockError `service_unavailable` when too many wait or the database is away */
    ask(question: ReserveQuestion): Promise<ReserveReply> {
      return new Promise((resolve, reject) => {
        if (waiting.length + recalling >= maxWaiting) {
          reject(unavailable('Too many requests wait for their budget to be checked.'))
        } else admit({ question, askedAt: now(), recalls: 0, resolve, reject })
      })
    },
    close() {
      closed = true
      const left = waiting
      waiting = []
      for (const { reject } of left) reject(unavailable('Shutting down.'))
    },
  }
}

function unavailable(message: string, cause?: unknown): PenstockError {
  return new PenstockError('service_unavailable', message, { retryAfterMs: retryMs, cause })
}

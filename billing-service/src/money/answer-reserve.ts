// Answers gateways that ask whether a request may cost so much. While one statement is on its way
// the next questions gather, and go together: many callers cost little more than one.
import type { Bus } from '@penstock/shared/bus/connect'
import { answer } from '@penstock/shared/bus/request-reply'
import type { ReserveQuestion, ReserveReply } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { databaseErrorCode, databaseProblem, isDataError } from '../database-error.ts'

export type Reserve = (questions: readonly ReserveQuestion[]) => Promise<ReserveReply[]>

const queue = 'billing'
/** Questions that wait here at most, and how many of them go into one statement. */
const maxWaiting = 1_000
const maxTogether = 250
/** Whoever asked has given up by then, in milliseconds. */
const patienceMs = 2_000
const retryMs = 500
/** An outage is said again after so long, in milliseconds. */
const sayAgainMs = 30_000

interface Waiting {
  question: ReserveQuestion
  askedAt: number
  resolve(reply: ReserveReply): void
  reject(error: PenstockError): void
}

/** @returns stop: what waits by then is refused as unavailable, and may be asked of another service */
export function answerReserve(bus: Bus, log: Logger, reserve: Reserve): () => void {
  const desk = createReserveDesk(log, reserve)
  const sub = answer(bus, channels.reserve, channels.reserve.subject(), desk.ask, queue)
  return () => {
    sub.unsubscribe()
    desk.close()
  }
}

export function createReserveDesk(log: Logger, reserve: Reserve, now: () => number = Date.now) {
  let waiting: Waiting[] = []
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
      for (const [index, { resolve, reject }] of batch.entries()) {
        const reply = replies[index]
        if (reply === undefined) reject(unavailable('The budget could not be checked.'))
        else resolve(reply)
      }
    } catch (error) {
      await failed(batch, error)
    }
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
        if (closed) reject(unavailable('Shutting down.'))
        else if (waiting.length >= maxWaiting) {
          reject(unavailable('Too many requests wait for their budget to be checked.'))
        } else {
          waiting.push({ question, askedAt: now(), resolve, reject })
          if (!working) void work()
        }
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

// Keeps billing and the book of allowances in step: one message at a time, a little after what it tells
// of, so that many requests go in one.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { listen } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { ask, isUnanswered } from '@penstock/shared/bus/request-reply'
import type { AllowanceQuestion, ReserveQuestion } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { createAllowanceBook, type Message, type Taken } from './allowance-book.ts'

export interface Allowances {
  /** @returns null: billing has to be asked */
  take(question: ReserveQuestion): Taken | null
  /** Resolves when billing knows of the request; null: it does, or was asked itself. */
  told(requestId: string): Promise<void> | null
  /** Gives everything back, within a second or never. */
  close(): Promise<void>
}

/**
 * What is not urgent waits for more to go in the same message, in milliseconds: billing works on it while
 * requests are under way, on the same cores where there are few. Shorter than what is known stays fresh.
 */
const gatherMs = 50
/** An answer is waited for so long, in milliseconds; longer where the last one took longer, or never came. */
const askMs = 250
const maxAskMs = 2_000
/** Billing is away: asked again so much later, in milliseconds. */
const retryMs = 50
const tidyMs = 1_000
const closeMs = 1_000

const patienceAfter = (ms: number) => Math.min(maxAskMs, Math.max(askMs, ms))
const pause = () => sleep(retryMs, undefined, { ref: false })

export function createAllowances(bus: Bus, log: Logger): Allowances {
  const book = createAllowanceBook(() => performance.now())
  let holder = randomUUID()
  // Where it is not known what billing made of a message, all is told once more under a higher number,
  // and what is handled after that changes nothing.
  let number = 0
  /** The highest that was answered under this name. */
  let answered = 0
  /** Of requests that were told of in vain: the number of the first message that did. */
  const firsts = new Map<string, number>()
  // Asked again before it has answered, a slow billing service would never be heard.
  let patienceMs = askMs
  let telling: Promise<void> | null = null
  let timer: NodeJS.Timeout | null = null

  function tellSoon(): void {
    if (telling !== null || !book.hasNews) return
    if (timer !== null && !book.isUrgent) return
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(tellNow, book.isUrgent ? 0 : gatherMs)
    timer.unref()
  }

  function tellNow(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    telling ??= tell().finally(() => {
      telling = null
      tellSoon()
    })
  }

  async function tell(): Promise<void> {
    const message = book.next()
    if (message === null) return
    if (!bus.connected) return pause()
    const askedAt = performance.now()
    const { allowance: channel } = channels
    try {
      number += 1
      const question = questionOf(message)
      const reply = await ask(bus, channel, channel.subject(), question, patienceMs)
      patienceMs = patienceAfter(2 * (performance.now() - askedAt))
      if (reply.ended) startAnew()
      else {
        answered = number
        book.heard(message, reply, askedAt)
        forget(message)
      }
    } catch (error) {
      unheard(message, error)
      await pause()
    }
  }

  function questionOf({ draws, wishes }: Message): AllowanceQuestion {
    const told = draws.map((one) => ({ ...one, since: firsts.get(one.requestId) ?? number }))
    return { holder, number, answered, draws: told, wishes }
  }

  function forget({ draws }: Message): void {
    if (firsts.size === 0) return
    for (const { requestId } of draws) firsts.delete(requestId)
  }

  /** Under another name, with nothing. */
  function rename(): void {
    holder = randomUUID()
    answered = 0
  }

  function unheard(message: Message, error: unknown): void {
    const { code, message: reason } = toErrorInfo(error)
    if (code === 'service_unavailable') {
      for (const { requestId } of message.draws) {
        if (!firsts.has(requestId)) firsts.set(requestId, number)
      }
      if (isUnanswered(error)) patienceMs = patienceAfter(2 * patienceMs)
      log.debug({ reason }, 'cannot tell of allowances')
      return
    }
    rename()
    book.drop(message)
    forget(message)
    const requests = message.draws.map(({ requestId }) => requestId)
    log.error({ code, reason, requests }, 'billing does not take what was granted')
  }

  /** Billing took this gateway for dead, because nobody heard of it, or of billing. */
  function startAnew(): void {
    rename()
    book.ended()
  }

  const sub = listen(bus, log, channels.recall, (account) => {
    book.recall(account)
    tellNow()
  })
  let version = 0
  const changes = listen(bus, log, channels.access, (heard) => {
    if (heard.version <= version) return
    version = heard.version
    book.doubt()
  })
  const tidying = setInterval(() => {
    book.tidy()
    tellSoon()
  }, tidyMs)
  tidying.unref()

  return {
    take(question) {
      const taken = book.take(question)
      tellSoon()
      return taken
    },
    told: book.told,
    async close() {
      clearInterval(tidying)
      sub.unsubscribe()
      changes.unsubscribe()
      const giveUpAt = performance.now() + closeMs
      while (performance.now() < giveUpAt) {
        book.giveBackAll()
        if (!book.hasNews && telling === null) return
        tellNow()
        await Promise.race([
          telling,
          sleep(giveUpAt - performance.now(), undefined, { ref: false }),
        ])
      }
    },
  }
}

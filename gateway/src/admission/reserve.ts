// Asks billing to set the worst case of a request aside in every account that pays for it.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '@penstock/shared/bus/connect'
import { ask, isUnanswered } from '@penstock/shared/bus/request-reply'
import type { ReserveQuestion, ReserveReply, Standing } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { dollarText } from '@penstock/shared/pricing/money'

export type Refused = Extract<ReserveReply, { granted: false }>

const askMs = 2_000
/** A billing service that is being restarted is back by then, in milliseconds. */
const patienceMs = 4_000
const pauseMs = 200
/** When only reservations are in the way: they are settled as their requests end. */
const reservedRetryMs = 1_000

/**
 * Asked again with the same request id it is the same reservation, so a lost answer costs nothing.
 * @param onDoubt told before this throws where it may have been granted all the same, now or later
 * @throws PenstockError `service_unavailable`
 */
export async function reserve(
  bus: Bus,
  question: ReserveQuestion,
  onDoubt: () => void,
): Promise<ReserveReply> {
  const giveUpAt = Date.now() + patienceMs
  let isInDoubt = false
  const { reserve: channel } = channels
  for (;;) {
    try {
      return await ask(bus, channel, channel.subject(), question, askMs)
    } catch (cause) {
      const isAway = toErrorInfo(cause).code === 'service_unavailable'
      isInDoubt ||= !isAway || isUnanswered(cause)
      if (isAway && Date.now() + pauseMs < giveUpAt) {
        await sleep(pauseMs)
        continue
      }
      if (isInDoubt) onDoubt()
      const message =
        'The budget could not be checked: no billing service answers. Try again later.'
      throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
    }
  }
}

/** @param now epoch milliseconds */
export function budgetError(
  { exceeded, by }: Refused,
  { amount, tokens }: Pick<ReserveQuestion, 'amount' | 'tokens'>,
  now: number,
): PenstockError {
  const isMoney = exceeded === 'money'
  const numbers = isMoney
    ? [by.spent, by.reserved, by.limit ?? '0', amount].map((one) => `$${dollarText(BigInt(one))}`)
    : [by.tokensSpent, by.tokensReserved, by.tokensLimit ?? 0, tokens].map((one) => `${one} tokens`)
  const [spent, reserved, limit, wanted] = numbers
  const resets = by.resetsAt === null ? '' : ` It resets at ${new Date(by.resetsAt).toISOString()}.`
  const message =
    `Budget exceeded for ${ownerOf(by)}: ${spent} spent and ${reserved} reserved of ${limit}; ` +
    `this request may take ${wanted}.${resets}`
  return new PenstockError('budget_exceeded', message, {
    retryAfterMs: retryAfter(isMoney, by, BigInt(isMoney ? amount : tokens), now),
  })
}

function retryAfter(isMoney: boolean, by: Standing, wanted: bigint, now: number): number | null {
  const spent = isMoney ? BigInt(by.spent) : BigInt(by.tokensSpent)
  const limit = isMoney ? BigInt(by.limit ?? 0) : BigInt(by.tokensLimit ?? 0)
  if (spent + wanted <= limit) return reservedRetryMs
  return by.resetsAt === null ? null : Math.max(0, by.resetsAt - now)
}

function ownerOf({ kind, owner, model }: Standing): string {
  const what = kind === 'member' ? 'team member' : kind
  return `${what} \`${owner}\`${model === '' ? '' : ` and model \`${model}\``}`
}

// The reservation of one request: which accounts pay, how much is set aside, and where it may then be
// served. Whatever may serve it is paid for beforehand; what cannot be is left out.
import type { Bus } from '@penstock/shared/bus/connect'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { BudgetedAccount, KeyFacts } from '@penstock/shared/contracts/access'
import type { ReserveQuestion, Standing } from '@penstock/shared/contracts/budget'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Allowances } from './allowances.ts'
import { fallbackGroups } from './fallback-groups.ts'
import { budgetError, reserve } from './reserve.ts'
import { type CostQuestion, type WorstCase, type WorstCases, worse } from './worst-case.ts'

export interface SetAsideQuestion extends CostQuestion {
  requestId: string
  facts: KeyFacts
  group: string
  allowedGroups: string[] | null
}

export interface SetAside {
  /** How the accounts that pay stand, without this request. */
  accounts(): readonly Standing[]
  /** To be told what the answer cost, in pico-dollars. */
  spent(cost: bigint): void
  /** Groups that fallbacks may lead to; null: any. */
  allowedGroups: string[] | null
}

/** A usage event may come so long after the deadline, in milliseconds. */
const graceMs = 60_000

/** Whether a request has to be paid for beforehand, be it for a fallback alone. */
export function hasToReserve(
  config: PenstockConfig,
  { facts, group, allowedGroups }: Pick<SetAsideQuestion, 'facts' | 'group' | 'allowedGroups'>,
): boolean {
  if (facts.accounts.length === 0) return false
  const groups = [group, ...fallbackGroups(config, group, allowedGroups)]
  return accountsOf(facts, groups).length > 0
}

export interface SetAsideOptions {
  bus: Bus
  config: PenstockConfig
  cases: WorstCases
  allowances: Pick<Allowances, 'take'>
}

/**
 * @param onDoubt told before this throws where something may be set aside all the same
 * @throws PenstockError `budget_exceeded`, `price_unknown`; `no_deployment_available` where nothing
 *   is known of the group, and so no price; `service_unavailable` where billing does not answer
 */
export async function setAside(
  { bus, config, cases, allowances }: SetAsideOptions,
  question: SetAsideQuestion,
  onDoubt: () => void,
): Promise<SetAside> {
  const { group, facts, allowedGroups } = question
  const primary = cases.inGroup(group, question)
  if (primary === null) throw nobodyServes(group)
  const refuses = config.penstock.budgets.unknownPrice === 'reject'
  const canPay = ({ unpriced }: WorstCase, groups: readonly string[]) =>
    unpriced === null || !refuses || !accountsOf(facts, groups).some(({ hasMoney }) => hasMoney)
  if (!canPay(primary, [group])) throw priceUnknown(group, primary.unpriced ?? group)

  const possible = fallbackGroups(config, group, allowedGroups)
  const fallbacks = possible.flatMap((name) => {
    const found = cases.inGroup(name, question)
    return found !== null && canPay(found, [group, name]) ? [{ name, found }] : []
  })
  const all = fallbacks.reduce((worst, { found }) => worse(worst, found), primary)
  const names = fallbacks.map(({ name }) => name)
  const wanted = questionOf(question, [group, ...names], all)
  // Fallbacks that cannot be paid for were left out, and nothing else would have cost anything.
  if (wanted.accounts.length === 0) return { ...asStood([]), allowedGroups: names }
  const paidFor = names.length === possible.length ? allowedGroups : names
  const taken = allowances.take(wanted)
  if (taken !== null) return { ...taken, allowedGroups: paidFor }
  const reply = await reserve(bus, wanted, onDoubt)
  if (reply.granted) return { ...asStood(reply.accounts), allowedGroups: paidFor }
  // A dear fallback, or a budget for its model alone, must not stand in the way of the group itself.
  const alone = questionOf(question, [group], primary)
  const isSame = wanted.amount === alone.amount && wanted.tokens === alone.tokens
  if (isSame && wanted.accounts.length === alone.accounts.length) {
    throw budgetError(reply, wanted, Date.now())
  }
  if (alone.accounts.length === 0) return { ...asStood([]), allowedGroups: [] }
  const second = await reserve(bus, alone, onDoubt)
  if (!second.granted) throw budgetError(second, alone, Date.now())
  return { ...asStood(second.accounts), allowedGroups: [] }
}

/** As billing said for this very request. */
const asStood = (accounts: readonly Standing[]) => ({ accounts: () => accounts, spent: () => {} })

function questionOf(
  { requestId, facts, deadline }: SetAsideQuestion,
  groups: readonly string[],
  { amount, tokens }: WorstCase,
): ReserveQuestion {
  const accounts = accountsOf(facts, groups)
  return {
    requestId,
    accounts: accounts.map(({ kind, owner, model }) => ({ kind, owner, model })),
    amount: accounts.some(({ hasMoney }) => hasMoney) ? String(amount) : '0',
    tokens,
    expiresAt: deadline + graceMs,
  }
}

function accountsOf({ accounts }: KeyFacts, groups: readonly string[]): BudgetedAccount[] {
  return accounts.filter(({ model }) => model === '' || groups.includes(model))
}

function nobodyServes(group: string): PenstockError {
  const message = `No worker serves \`${group}\` now, so its price is not known. Try again later.`
  return new PenstockError('no_deployment_available', message, { retryAfterMs: 1_000 })
}

function priceUnknown(group: string, model: string): PenstockError {
  const which = group === model ? `\`${group}\`` : `\`${group}\` (\`${model}\`)`
  const message =
    `The price of ${which} is not known, and the budget of this API key pays only for what has one. ` +
    'Set `model_info.input_cost_per_token` and `output_cost_per_token` of the model in the config, ' +
    'or `penstock_settings.budgets.unknown_price`.'
  return new PenstockError('price_unknown', message, { param: 'model' })
}

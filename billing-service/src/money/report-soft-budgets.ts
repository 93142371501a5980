// Says that accounts came to their soft limit: a line for the operator, by ids alone, and a message for
// the gateways, which count it. At most once per account and budget period: what is lost by a crash
// right after the commit is not said again.
import { broadcast } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import type { SoftBudgetReached } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { dollarText } from '@penstock/shared/pricing/money'
import type { Logger } from '@penstock/shared/telemetry/log'

export function reportSoftBudgets(
  bus: Bus,
  log: Logger,
  crossings: readonly SoftBudgetReached[],
): void {
  for (const { kind, owner, model, spent, soft } of crossings) {
    const spentUsd = dollarText(BigInt(spent))
    const softBudgetUsd = dollarText(BigInt(soft))
    log.warn({ kind, owner, model, spentUsd, softBudgetUsd }, 'soft budget reached')
    broadcast(bus, channels.softBudget, { kind, owner, model, spent, soft })
  }
}

// Every migration, in the order in which they run. A name, once released, never changes.
import type { Migration } from 'kysely/migration'
import * as requestLogAndLedger from './2026-01-request-log-and-ledger.ts'
import * as keysAndBudgets from './2026-02-keys-and-budgets.ts'
import * as budgetPeriods from './2026-03-budget-periods.ts'
import * as reservations from './2026-04-reservations.ts'
import * as settlement from './2026-04-settlement.ts'
import * as spendTotals from './2026-04-spend-totals.ts'
import * as partitions from './2026-05-partitions.ts'
import * as recording from './2026-06-recording.ts'
import * as allowances from './2026-07-allowances.ts'

export const migrations: Record<string, Migration> = {
  '2026-01-request-log-and-ledger': requestLogAndLedger,
  '2026-02-keys-and-budgets': keysAndBudgets,
  '2026-03-budget-periods': budgetPeriods,
  '2026-04-reservations': reservations,
  '2026-04-settlement': settlement,
  '2026-04-spend-totals': spendTotals,
  '2026-05-partitions': partitions,
  '2026-06-recording': recording,
  '2026-07-allowances': allowances,
}

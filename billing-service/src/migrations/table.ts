// Every migration, in the order in which they run. A name, once released, never changes.
import type { Migration } from 'kysely/migration'
import * as requestLogAndLedger from './2026-01-request-log-and-ledger.ts'
import * as keysAndBudgets from './2026-02-keys-and-budgets.ts'

export const migrations: Record<string, Migration> = {
  '2026-01-request-log-and-ledger': requestLogAndLedger,
  '2026-02-keys-and-budgets': keysAndBudgets,
}

// THE table of what answers the admin operations: one handler for each, or it does not compile.
import type { adminOperations } from '@penstock/shared/contracts/admin'
import { spendHandlers } from '../money/spend-operations.ts'
import type { HandlersOf } from './admin-context.ts'
import { budgetHandlers } from './budgets.ts'
import { keyHandlers } from './key-handlers.ts'
import { teamHandlers } from './teams.ts'
import { userHandlers } from './users.ts'

export const adminHandlers: HandlersOf<typeof adminOperations> = {
  ...keyHandlers,
  ...teamHandlers,
  ...userHandlers,
  ...budgetHandlers,
  ...spendHandlers,
}

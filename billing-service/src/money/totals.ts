// THE table of what is derived from the ledger and kept beside it: which rows, which sums, and the
// view that says what they must be (migrations/2026-04-spend-totals.ts).
import type { SpendDifference } from '@penstock/shared/contracts/admin/spend'

/** Table and column names are put into statements as they are. */
export interface Total {
  name: SpendDifference['total']
  table: string
  /** A view with the same columns, or a query in parentheses. */
  truth: string
  key: readonly string[]
  sums: readonly string[]
}

const dailySums = ['amount', 'prompt_tokens', 'completion_tokens', 'requests', 'failures']
const accountKey = ['kind', 'owner', 'model']

export const totals: readonly Total[] = [
  {
    name: 'daily_spend',
    table: 'daily_spend',
    truth: 'ledger_daily_spend',
    key: ['day', 'key_id', 'user_id', 'team_id', 'model_group', 'provider', 'model'],
    sums: dailySums,
  },
  {
    name: 'daily_tag_spend',
    table: 'daily_tag_spend',
    truth: 'ledger_daily_tag_spend',
    key: ['day', 'tag', 'key_id'],
    sums: dailySums,
  },
  {
    name: 'account',
    table: 'account',
    truth: 'ledger_account',
    key: accountKey,
    sums: ['total_amount', 'total_tokens', 'period_amount', 'period_tokens'],
  },
  {
    name: 'reserved',
    table: 'account',
    truth: `(
      select kind, owner, model, sum(amount) as reserved_amount, sum(tokens) as reserved_tokens
      from reservation join account using (kind, owner, model) group by kind, owner, model)`,
    key: accountKey,
    sums: ['reserved_amount', 'reserved_tokens'],
  },
]

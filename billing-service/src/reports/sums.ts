// Sums of the daily tables, as SQL makes them and as they are shown.
import type { SpendMetrics } from '@penstock/shared/contracts/reports'
import { dollarText } from '@penstock/shared/pricing/money'
import { sql } from 'kysely'

/** Whole numbers as pg hands them out; `amount` is pico-dollars. */
export interface Sums {
  amount: string
  prompt_tokens: string
  completion_tokens: string
  requests: string
  failures: string
}

/** Zeros, not nulls, where there is nothing to add up. */
export const sumColumns = sql.join(
  ['amount', 'prompt_tokens', 'completion_tokens', 'requests', 'failures'].map(
    (column) => sql`coalesce(sum(${sql.ref(column)}), 0) as ${sql.ref(column)}`,
  ),
)

export function metricsOf(sums: Sums): SpendMetrics {
  const promptTokens = Number(sums.prompt_tokens)
  const completionTokens = Number(sums.completion_tokens)
  const requests = Number(sums.requests)
  const failures = Number(sums.failures)
  return {
    spend: Number(dollarText(BigInt(sums.amount))),
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    api_requests: requests,
    successful_requests: requests - failures,
    failed_requests: failures,
  }
}

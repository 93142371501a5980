// Sets aside what requests may cost at most, in one statement for many of them; what the statement
// does is in migrations/2026-04-reservations.ts.
import {
  type ReserveQuestion,
  type ReserveReply,
  reserveReply,
} from '@penstock/shared/contracts/budget'
import { type Kysely, sql } from 'kysely'
import type { Database } from '../database.ts'
import { retryConflicts } from './retry-conflicts.ts'

/**
 * All questions are handled in turn, in ONE transaction; an answer that this returns is durable. An
 * account that does not exist has no limit.
 * @param at the moment that counts for leases and budget periods; null: the database's own now
 * @returns one answer per question, in their order
 * @throws the driver's error; nothing was reserved then
 */
export async function reserve(
  db: Kysely<Database>,
  questions: readonly ReserveQuestion[],
  at: Date | null = null,
): Promise<ReserveReply[]> {
  const { rows } = await retryConflicts(() =>
    sql<{ answer: unknown }>`
      select answer from reserve_budgets(
        ${JSON.stringify(questions)}::jsonb, coalesce(${at}::timestamptz, now())) as answer
    `.execute(db),
  )
  return rows.map(({ answer }) => reserveReply.parse(answer))
}

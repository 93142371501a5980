// Sets aside what requests may cost at most, in one statement for many of them; what the statements
// do is in migrations/2026-04-reservations.ts.
import {
  type ReserveQuestion,
  type ReserveReply,
  reserveReply,
  standing,
} from '@penstock/shared/contracts/budget'
import { z } from 'zod'
import { retryConflicts } from './retry-conflicts.ts'

/** A pool of pg's: requests wait for these statements, and one that has a name is parsed but once. */
export interface Statements {
  query(statement: { name: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>
}

const together = {
  name: 'reserve',
  text: 'select reserve_budgets($1::jsonb, coalesce($2::timestamptz, now())) as answer',
}
const alone = {
  name: 'reserve-alone',
  text: `select reserve_alone($1, $2, $3, $4, $5, $6, to_timestamp($7::double precision / 1000),
    coalesce($8::timestamptz, now())) as standing`,
}
const answered = z.object({ answer: reserveReply })
const stood = z.object({ standing: standing.nullable() })

/**
 * All questions are handled in turn, in ONE transaction; an answer that this returns is durable. An
 * account that does not exist has no limit.
 * @param at the moment that counts for leases and budget periods; null: the database's own now
 * @returns one answer per question, in their order
 * @throws the driver's error; nothing was reserved then
 */
export async function reserve(
  pool: Statements,
  questions: readonly ReserveQuestion[],
  at: Date | null = null,
): Promise<(ReserveReply | undefined)[]> {
  const granted = await grantAlone(pool, questions, at)
  if (granted !== null) return [granted]
  const values = [JSON.stringify(questions), at]
  const { rows } = await retryConflicts(() => pool.query({ ...together, values }))
  // An account whose figures nobody can read spoils the answers that have it, not all.
  return rows.map((row) => answered.safeParse(row).data?.answer)
}

/** The short way of a single question about a single account; null: there is more to say. */
async function grantAlone(
  pool: Statements,
  [question, ...others]: readonly ReserveQuestion[],
  at: Date | null,
): Promise<ReserveReply | null> {
  if (question === undefined || others.length > 0) return null
  const { requestId, accounts, amount, tokens, expiresAt } = question
  const [account, ...more] = accounts
  if (account === undefined || more.length > 0) return null
  const { kind, owner, model } = account
  const values = [requestId, kind, owner, model, amount, tokens, expiresAt, at]
  const { rows } = await retryConflicts(() => pool.query({ ...alone, values }))
  const { standing: found } = stood.parse(rows[0])
  return found === null ? null : { granted: true, accounts: [found] }
}

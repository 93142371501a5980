// What gateways granted of their allowances becomes the reservations of those requests, and allowances
// grow or come back (migrations/2026-07-allowances.ts).
import type { Bus } from '@penstock/shared/bus/connect'
import { answer } from '@penstock/shared/bus/request-reply'
import {
  type AllowanceQuestion,
  type AllowanceReply,
  allowanceReply,
} from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import type { Database } from '../database.ts'
import { databaseProblem, isDataError } from '../database-error.ts'
import type { Statements } from './reserve.ts'
import { retryConflicts } from './retry-conflicts.ts'

const statement = {
  name: 'draw-allowances',
  text: `select draw_allowances($1, $2, $3, $4::jsonb, $5::jsonb,
    coalesce($6::timestamptz, now())) as account`,
}
const ended = z.object({ account: z.object({ ended: z.literal(true) }) })
const row = z.object({ account: allowanceReply.shape.accounts.element })

/**
 * In ONE transaction; what this returns is durable. The same question again changes nothing more.
 * @param at the moment that counts for leases and budget periods; null: the database's now
 * @throws the driver's error, after which nothing was done, or all of it
 */
export async function drawAllowances(
  pool: Statements,
  { holder, number, answered, draws, wishes }: AllowanceQuestion,
  at: Date | null = null,
): Promise<AllowanceReply> {
  const values = [holder, number, answered, JSON.stringify(draws), JSON.stringify(wishes), at]
  const { rows } = await retryConflicts(() => pool.query({ ...statement, values }))
  if (ended.safeParse(rows[0]).success) return { ended: true, accounts: [] }
  // An account whose figures nobody can read is as if nobody had heard of it.
  const accounts = rows.flatMap((one) => row.safeParse(one).data?.account ?? [])
  return { ended: false, accounts }
}

/** Allowances freed in one transaction, and transactions in one round. */
const maxAtOnce = 500
const maxFreed = 100

/**
 * Frees what gateways hold that nobody heard of for a lease, in transactions of bounded size.
 * @param at null: the database's now
 * @returns how many allowances were freed
 */
export async function freeAllowances(db: Kysely<Database>, at: Date | null = null) {
  let all = 0
  for (let times = 0; times < maxFreed; times++) {
    const { rows } = await retryConflicts(() =>
      sql<{ freed: string | null }>`
        select free_allowances(coalesce(${at}::timestamptz, now()), ${maxAtOnce}) as freed`.execute(
        db,
      ),
    )
    const freed = rows[0]?.freed ?? null
    if (freed === null) break
    all += Number(freed)
  }
  return all
}

/** Gateways whose allowances were freed an hour ago are forgotten: nothing of theirs is under way any more. */
export async function forgetHolders(db: Kysely<Database>): Promise<void> {
  await sql`
    delete from allowance_holder h where h.ended and h.heard_at < now() - interval '1 hour'
      and not exists (
        select from reservation r where r.request_id = 'allowance/' || h.holder
      )`.execute(db)
}

const queue = 'billing'

/** @returns stop */
export function answerAllowances(bus: Bus, pool: Statements): () => void {
  const { allowance: channel } = channels
  async function handle(question: AllowanceQuestion): Promise<AllowanceReply> {
    try {
      return await drawAllowances(pool, question)
    } catch (cause) {
      if (isDataError(cause)) {
        throw new PenstockError('invalid_request', 'This cannot be drawn.', { cause })
      }
      const message = `Allowances cannot be drawn: database: ${databaseProblem(cause)}.`
      throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 500 })
    }
  }
  const sub = answer(bus, channel, channel.subject(), handle, queue)
  return () => sub.unsubscribe()
}

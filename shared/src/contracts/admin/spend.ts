// The admin operations on the books themselves: hold the totals against the ledger, and correct what
// an attempt was billed. Both are the master's alone.
import { z } from 'zod'
import { params } from './fields.ts'
import { operation } from './operation.ts'

/** US dollars, exact to the pico-dollar, as a decimal; with a sign where it can be negative. */
const dollarText = z.string().regex(/^-?\d+(\.\d+)?$/)

/** A total that was not what the ledger says. */
export const spendDifference = z.object({
  total: z.enum(['account', 'daily_spend', 'daily_tag_spend', 'reserved']),
  /** Which row: `key/key_1f…/gpt-4o`, `2026-05-20/key_1f…/…`. */
  row: z.string(),
  /** What differs, and how: dollars for amounts, whole numbers for the others. */
  fields: z.record(z.string(), z.object({ was: z.string(), ledger: z.string() })),
})
export type SpendDifference = z.infer<typeof spendDifference>

export const spendRebuilt = z.object({
  dry_run: z.boolean(),
  ledger_entries: z.int(),
  ledger_usd: dollarText,
  /** Rows that differed; none is as it must be. Repaired, unless it was a dry run. */
  differing: z.int().min(0),
  /** The first of them. */
  differences: z.array(spendDifference),
})
export type SpendRebuilt = z.infer<typeof spendRebuilt>

export const spendOperations = {
  'spend.rebuild': operation({
    method: 'post',
    path: '/spend/rebuild',
    leavesAccess: true,
    params: params({ dry_run: z.boolean().default(false) }),
    reply: spendRebuilt,
  }),
  /** Adds an entry to the ledger; no entry is ever changed. */
  'spend.correct': operation({
    method: 'post',
    path: '/spend/correct',
    leavesAccess: true,
    params: params({
      request_id: z.string().min(1).max(256),
      attempt: z.int().min(1).max(2_147_483_647).default(1),
      /** US dollars to add; negative: to give back, at most what the attempt cost. */
      amount: z.number().min(-1e12).max(1e12),
      reason: z.string().trim().min(1).max(1_024),
    }),
    reply: z.object({
      request_id: z.string(),
      attempt: z.int(),
      /** Of the new entry. */
      entry_id: z.string(),
      correction_usd: dollarText,
      /** What the attempt costs now, all its entries together. */
      spend: z.number(),
      spend_usd: dollarText,
      reason: z.string(),
    }),
  }),
}

// What the gateway asks billing about sums of spend: totals by team, key, model …, and LiteLLM's
// daily activity. Days are UTC, both ends included. Sums are the ledger's, exact; `spend` is the
// JSON number next to them.
import { z } from 'zod'
import { actor } from './admin.ts'
import { whoFilters } from './spend.ts'

const count = z.int().min(0)
const name = z.string().min(1).max(512)

/** LiteLLM's names. An attempt counts as a request; what was cut off or refused has failed. */
export const spendMetrics = z.object({
  /** US dollars. Negative where corrections outweigh what was spent. */
  spend: z.number(),
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  api_requests: count,
  successful_requests: count,
  failed_requests: count,
})
export type SpendMetrics = z.infer<typeof spendMetrics>

export const groupings = [
  'team',
  'key',
  'user',
  'model',
  'model_group',
  'provider',
  'tag',
  'day',
  /** One row: everything. */
  'all',
] as const
export type Grouping = (typeof groupings)[number]

/**
 * Sums by tag know days and keys only: of the filters they take `api_key`. A request with two tags
 * counts for both.
 */
export const totalsFilters = z.object({
  ...whoFilters,
  model: name.optional(),
  model_group: name.optional(),
  start_date: z.iso.date().optional(),
  end_date: z.iso.date().optional(),
})
export const totalsQuery = totalsFilters.extend({
  actor,
  group_by: z.enum(groupings),
  limit: z.int().min(1).max(1_000).default(100),
  /** The `nextCursor` of the page before. */
  cursor: z.string().optional(),
})
export type TotalsQuery = z.output<typeof totalsQuery>

export const totalsRow = spendMetrics.extend({
  /** The team's id, the day …; '' stands for requests without one. */
  name: z.string(),
  /** The same as `spend`, exact. */
  spend_usd: z.string(),
  /** What is known of the key, team or user: alias, e-mail …; null: nothing (it was deleted). */
  about: z.record(z.string(), z.string().nullable()).nullable(),
})
export type TotalsRow = z.infer<typeof totalsRow>

/** The dearest first, days in their order. Only `nextCursor` null means the end. */
export const totalsPage = z.object({
  rows: z.array(totalsRow),
  nextCursor: z.string().nullable(),
})
export type TotalsPage = z.infer<typeof totalsPage>

export const activityFilters = z.object({
  api_key: whoFilters.api_key,
  user_id: whoFilters.user_id,
  model: name.optional(),
  start_date: z.iso.date(),
  end_date: z.iso.date(),
})
export const activityQuery = activityFilters.extend({
  actor,
  /** What `entities` in a breakdown are; of `team`, requests without a team are left out. */
  entity: z.enum(['user', 'team']),
  /** Null: all. */
  team_ids: z.array(name).max(100).nullable(),
  exclude_team_ids: z.array(name).max(100),
  /** Days with spend, newest first: so many are passed over, so many wanted at most. */
  skip: z.int().min(0),
  limit: z.int().min(1).max(1_000),
})
export type ActivityQuery = z.output<typeof activityQuery>

const part = z.object({
  metrics: spendMetrics,
  metadata: z.record(z.string(), z.string().nullable()),
})
/** By name; a day shows the dearest 100 of each. */
const parts = z.record(z.string(), part)

export const activityDay = z.object({
  date: z.iso.date(),
  metrics: spendMetrics,
  breakdown: z.object({
    models: parts,
    model_groups: parts,
    providers: parts,
    api_keys: parts,
    entities: parts,
  }),
})
export type ActivityDay = z.infer<typeof activityDay>

/** The days are the body: activityDays as JSON with commas between them. */
export const activityPart = z.object({
  /** From `skip` on; fewer than asked for where more would not fit into one message. */
  days: count,
  /** Of the whole period. */
  dayCount: count,
  totals: spendMetrics,
})
export type ActivityPart = z.infer<typeof activityPart>

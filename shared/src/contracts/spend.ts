// What the gateway asks billing about single requests, and the answers: LiteLLM's `/spend/logs` rows
// under their own field names, a page at a time, its summary by day, and what was kept of prompts.
import { z } from 'zod'
import { actor } from './admin.ts'
import { errorInfo } from './errors.ts'
import { keptContent, usageStatus } from './usage.ts'

/** A calendar day (UTC), or a moment; a moment without a zone is UTC. `T` or a space between. */
const dayOrMoment = z.union([
  z.iso.date(),
  z
    .string()
    .transform((text) => text.replace(' ', 'T'))
    .pipe(z.iso.datetime({ offset: true, local: true })),
])

const name = z.string().min(1).max(512)

/** Who spent. */
export const whoFilters = {
  /** A key's id, or `hash:<hex>`; a key itself never travels. */
  api_key: name.optional(),
  user_id: name.optional(),
  team_id: name.optional(),
}

/** All filters hold at once. Both ends belong to the range: an `end_date` day is a whole day. */
export const spendLogsFilters = z.object({
  ...whoFilters,
  request_id: name.optional(),
  /** As the provider names it. */
  model: name.optional(),
  model_group: name.optional(),
  tag: name.optional(),
  status: usageStatus.optional(),
  end_user: name.optional(),
  start_date: dayOrMoment.optional(),
  end_date: dayOrMoment.optional(),
  limit: z.int().min(1).max(500).default(100),
  /** The `nextCursor` of the page before. */
  cursor: z.string().optional(),
})

/** Whatever is asked for, an actor gets to see only what is its own (see billing's scope.ts). */
export const spendLogsQuery = spendLogsFilters.extend({ actor })
export type SpendLogsQuery = z.output<typeof spendLogsQuery>

/** LiteLLM's names for what was called. */
const callType = z.enum([
  'acompletion',
  'atext_completion',
  'aembedding',
  'amoderation',
  'arerank',
  'aimage_generation',
  'aspeech',
  'atranscription',
  'atranslation',
])

const count = z.int().min(0)
const moment = z.iso.datetime()

/** One attempt. As in LiteLLM, an unknown id or address is an empty string. Times are ISO, UTC. */
export const spendLogRow = z.object({
  request_id: z.string(),
  call_type: callType,
  /** The key's id. */
  api_key: z.string(),
  /** US dollars; `spend_usd` is the same amount, exact. */
  spend: z.number(),
  total_tokens: count,
  prompt_tokens: count,
  completion_tokens: count,
  /** When the gateway accepted the request. */
  startTime: moment,
  endTime: moment,
  /** When the first token came; null where none did. */
  completionStartTime: moment.nullable(),
  request_duration_ms: z.int(),
  model: z.string(),
  model_id: z.string(),
  model_group: z.string(),
  custom_llm_provider: z.string(),
  api_base: z.string(),
  user: z.string(),
  team_id: z.string(),
  end_user: z.string(),
  request_tags: z.array(z.string()),
  session_id: z.string().nullable(),
  status: usageStatus,
  metadata: z.record(z.string(), z.unknown()),
  // From here on: ours.
  attempt: z.int().min(1),
  correlation_id: z.string(),
  spend_usd: z.string(),
  /**
   * Where the price came from; `unpriced`: there was none, and `spend` is 0. `normal-tier`: the
   * upstream served it in a tier some or all of whose prices are not known: they are the normal ones.
   */
  cost_source: z.enum(['configured', 'price-table', 'normal-tier', 'unpriced']),
  /** The upstream reported no usage: the tokens were counted by us. */
  usage_estimated: z.boolean(),
  error: errorInfo.nullable(),
})
export type SpendLogRow = z.infer<typeof spendLogRow>

/**
 * Newest first. A page may hold fewer rows than `limit`: only `nextCursor` null means the end. The rows
 * are the body: spendLogRows as JSON with commas between them, which goes to the client as it is.
 */
export const spendLogsPage = z.object({
  rows: count,
  nextCursor: z.string().nullable(),
})
export type SpendLogsPage = z.infer<typeof spendLogsPage>

/** Days (UTC), both included, at most 366 of them. */
export const spendSummaryFilters = z.object({
  ...whoFilters,
  request_id: name.optional(),
  start_date: z.iso.date(),
  end_date: z.iso.date(),
})
export const spendSummaryQuery = spendSummaryFilters.extend({ actor })
export type SpendSummaryQuery = z.output<typeof spendSummaryQuery>

/** LiteLLM's summary of a day, in US dollars; besides these, one property per key id. */
export const spendSummaryDay = z.looseObject({
  /** YYYY-MM-DD. */
  startTime: z.iso.date(),
  spend: z.number(),
  models: z.record(z.string(), z.number()),
  users: z.record(z.string(), z.number()),
})
export type SpendSummaryDay = z.infer<typeof spendSummaryDay>

/** Oldest day first, none left out. `nextStart`: ask again from this day; null: that is all. */
export const spendSummary = z.object({
  days: z.array(spendSummaryDay),
  nextStart: z.iso.date().nullable(),
})
export type SpendSummary = z.infer<typeof spendSummary>

/** What was kept of one request's attempts. */
export const requestContentQuery = z.object({ actor, request_id: name })
export type RequestContentQuery = z.output<typeof requestContentQuery>

/** The first attempt first; empty where nothing was kept, or is kept no longer. */
export const requestContent = z.object({
  attempts: z.array(
    keptContent.extend({
      attempt: z.int().min(1),
      status: usageStatus,
      model_group: z.string(),
      startTime: moment,
    }),
  ),
})
export type RequestContent = z.infer<typeof requestContent>

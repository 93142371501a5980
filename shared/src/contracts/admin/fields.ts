// What keys, teams, users and budgets have in common in the admin API: limits, budgets, models,
// metadata, under LiteLLM's names. Both sides of the bus parse with these schemas, one after the
// other: what a schema gives, it takes again.
import { z } from 'zod'

const maxNames = 1_000
const maxJsonBytes = 64 * 1024

/** Ids, aliases, model names: printable, short. */
export const nameText = z
  .string()
  .min(1)
  .max(256)
  .regex(/^\P{Cc}*$/u, 'must not contain control characters')

/** A team's id is the first part of `<team id>/<user id>`: a slash would make that ambiguous. */
export const teamIdText = nameText.regex(/^[^/]*$/, 'must not contain a slash')

export const names = z.array(nameText).max(maxNames)

/** Names of one's own for models: alias → model. */
export const modelAliases = z.record(nameText, nameText)

/** By unit, what a hundred years are. A date behind the year 9999 would fit no reply. */
const longest: Record<string, number> = { d: 36_525, w: 5_218, mo: 1_200 }

/** `30s`, `15m`, `12h`, `30d`, `2w`, `1mo`. */
export const durationText = z
  .string()
  .regex(/^[1-9]\d{0,4}(s|m|h|d|w|mo)$/, 'expected a duration like 30s, 15m, 12h, 30d, 2w or 1mo')
  .refine((text) => {
    const count = Number.parseInt(text, 10)
    return !(count > (longest[text.slice(String(count).length)] ?? count))
  }, 'must not be longer than 100 years')

const zoneText = z.string().refine((zone) => {
  // An offset is a zone to JavaScript; Postgres reads `+05:30` as west of Greenwich.
  if (/^[+-]/.test(zone)) return false
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone })
    return true
  } catch {
    return false
  }
}, 'expected a time zone like Europe/Berlin')

/** US dollars. */
const dollars = z.number().min(0).max(1e12)
const tokens = z.int().min(0)
const perMinute = z.int().min(1)
const atOnce = z.int().min(1).max(1_000_000)

const jsonObject = z
  .record(z.string(), z.unknown())
  .refine((value) => JSON.stringify(value).length <= maxJsonBytes, 'must be under 64 KB as JSON')

const byModel = <S extends z.ZodType>(schema: S) =>
  z
    .record(nameText, schema)
    .refine((value) => Object.keys(value).length <= maxNames, `at most ${maxNames} models`)

/** LiteLLM's older names too, and its oldest form: the dollars alone. */
const modelBudget = z.union([
  dollars,
  z.strictObject({
    max_budget: dollars.nullish(),
    budget_limit: dollars.nullish(),
    max_tokens_budget: tokens.nullish(),
    budget_duration: durationText.nullish(),
    time_period: durationText.nullish(),
  }),
])
export type ModelBudgetField = z.output<typeof modelBudget>

/**
 * In a `new`, null and absent are the same: no limit. In an `update`, an absent field stays as it is
 * and null takes the limit away.
 */
export const rateFields = {
  rpm_limit: perMinute.nullish(),
  tpm_limit: perMinute.nullish(),
  max_parallel_requests: atOnce.nullish(),
}

/** `max_budget`, `soft_budget`: US dollars. Tokens: prompt and completion together. */
export const budgetFields = {
  max_budget: dollars.nullish(),
  soft_budget: dollars.nullish(),
  max_tokens_budget: tokens.nullish(),
  budget_duration: durationText.nullish(),
  /** IANA; null and absent: the config's. */
  budget_timezone: zoneText.nullish(),
  model_max_budget: byModel(modelBudget).nullish(),
}

/** What a key, a team and a user each can have. A `budget_id` excludes budget fields of its own. */
export const holderFields = {
  ...rateFields,
  ...budgetFields,
  budget_id: nameText.nullish(),
  models: names.nullish(),
  tags: names.nullish(),
  metadata: jsonObject.nullish(),
  blocked: z.boolean().nullish(),
  model_rpm_limit: byModel(perMinute).nullish(),
  model_tpm_limit: byModel(perMinute).nullish(),
  model_max_parallel_requests: byModel(atOnce).nullish(),
  /** Null: as the team, else the config says. */
  store_prompts: z.boolean().nullish(),
}

type Holder = z.ZodObject<typeof holderFields>
export type HolderFields = z.output<Holder>
export type BudgetFields = z.output<z.ZodObject<typeof budgetFields>>
export type RateFields = z.output<z.ZodObject<typeof rateFields>>

/**
 * The parameters of an operation. A field that we do not know is an error that names it, because a
 * limit that is misspelt must not silently be none; LiteLLM's clients send many empty ones
 * (`"permissions": {}`), which say nothing and are dropped.
 */
export function params<S extends z.ZodRawShape>(shape: S) {
  return z.preprocess((given) => withoutEmpty(given, shape), z.strictObject(shape))
}

function withoutEmpty(given: unknown, shape: z.ZodRawShape): unknown {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return given ?? {}
  return Object.fromEntries(
    Object.entries(given).filter(([name, value]) => Object.hasOwn(shape, name) || !isEmpty(value)),
  )
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === '' || value === false) return true
  return typeof value === 'object' && Object.keys(value).length === 0
}

/** In a query string everything is text. */
export const queryFlag = z.union([
  z.boolean(),
  z
    .enum(['true', 'True', '1', 'false', 'False', '0'])
    .transform((text) => /^(true|1)$/i.test(text)),
])

const positive = z.coerce.number().pipe(z.int().min(1).max(1_000_000))

/** LiteLLM's paging, from 1. */
export const pageFields = {
  page: positive.default(1),
  size: z.coerce.number().pipe(z.int().min(1).max(100)).default(10),
}

/** Of lists that LiteLLM answers whole: without a `page`, all, or an error if they are too many. */
export const wholeListFields = {
  page: positive.optional(),
  page_size: z.coerce.number().pipe(z.int().min(1).max(1_000)).default(100),
}

const moment = z.iso.datetime()
const nullable = <S extends z.ZodType>(schema: S) => schema.nullable()

/** The limits of a holder in a reply: its own, where it has none those of its `budget_id`. */
export const rateReply = {
  rpm_limit: nullable(z.number()),
  tpm_limit: nullable(z.number()),
  max_parallel_requests: nullable(z.number()),
}

/** A model's budget as replies show it. Spent and reserved: US dollars, of the current period. */
export const modelBudgetReply = z.object({
  max_budget: nullable(z.number()),
  max_tokens_budget: nullable(z.number()),
  budget_duration: nullable(z.string()),
  budget_reset_at: nullable(moment),
  spend: z.number(),
  tokens_spent: z.number(),
})

/** What may be spent, in US dollars and in tokens, and in what time. */
export const spendLimitsReply = {
  max_budget: nullable(z.number()),
  soft_budget: nullable(z.number()),
  max_tokens_budget: nullable(z.number()),
  budget_duration: nullable(z.string()),
  budget_timezone: nullable(z.string()),
}

/** How a holder's budget stands. */
export const budgetReply = {
  ...spendLimitsReply,
  budget_reset_at: nullable(moment),
  /** US dollars in the current period: what is compared with `max_budget`. */
  spend: z.number(),
  /** US dollars set aside for requests that are under way. */
  reserved: z.number(),
  /** Prompt and completion tokens in the current period. */
  tokens_spent: z.number(),
  /** US dollars since ever. */
  total_spend: z.number(),
  model_max_budget: z.record(z.string(), modelBudgetReply),
  /** US dollars in the current period, of the models that have a budget. */
  model_spend: z.record(z.string(), z.number()),
}

export const holderReply = {
  ...rateReply,
  ...budgetReply,
  budget_id: nullable(z.string()),
  models: z.array(z.string()),
  tags: z.array(z.string()),
  metadata: z.record(z.string(), z.unknown()),
  blocked: z.boolean(),
  model_rpm_limit: z.record(z.string(), z.number()),
  model_tpm_limit: z.record(z.string(), z.number()),
  model_max_parallel_requests: z.record(z.string(), z.number()),
  store_prompts: nullable(z.boolean()),
  created_at: moment,
  created_by: nullable(z.string()),
  updated_at: moment,
}

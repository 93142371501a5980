// The limits of a key, a team or a user between the admin API's fields and the columns of its table.
import type { HolderFields } from '@penstock/shared/contracts/admin/fields'
import type { Updateable } from 'kysely'
import type { ModelLimits, TeamTable } from '../access-tables.ts'

/** Columns that the tables of keys, teams and users all have. */
type HolderColumns = Pick<
  Updateable<TeamTable>,
  | 'budget_id'
  | 'models'
  | 'tags'
  | 'metadata'
  | 'blocked'
  | 'rpm_limit'
  | 'tpm_limit'
  | 'max_parallel_requests'
  | 'model_limits'
  | 'store_prompts'
>

export interface HolderRow {
  models: string[]
  tags: string[]
  metadata: Record<string, unknown>
  blocked: boolean
  model_limits: ModelLimits
  store_prompts: boolean | null
  budget_id: string | null
  created_at: Date
  created_by: string | null
  updated_at: Date
}

/** The names of a model's limits as fields, and what they are called within `model_limits`. */
const modelFields = {
  model_rpm_limit: 'rpm_limit',
  model_tpm_limit: 'tpm_limit',
  model_max_parallel_requests: 'max_parallel_requests',
} as const
type ModelField = keyof typeof modelFields

/**
 * For an insert or an update: columns of the fields that were given; null stands for none.
 * @param before the `model_limits` as they are; `{}` for what is new
 */
export function columnsOf(fields: Partial<HolderFields>, before: ModelLimits): HolderColumns {
  const { models, tags, metadata, blocked, budget_id, store_prompts } = fields
  const modelLimits = changedModelLimits(fields, before)
  return given({
    budget_id,
    store_prompts,
    models: models === null ? [] : models,
    tags: tags === null ? [] : tags,
    metadata: metadata === undefined ? undefined : JSON.stringify(metadata ?? {}),
    blocked: blocked === null ? false : blocked,
    rpm_limit: textOf(fields.rpm_limit),
    tpm_limit: textOf(fields.tpm_limit),
    max_parallel_requests: fields.max_parallel_requests,
    model_limits: modelLimits === null ? undefined : JSON.stringify(modelLimits),
  })
}

/** Without the properties that are undefined: those columns stay as they are. */
export function given<T extends object>(columns: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(columns).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }
}

function textOf(value: number | null | undefined): string | null | undefined {
  return typeof value === 'number' ? String(value) : value
}

/** Null: nothing was given. */
function changedModelLimits(
  fields: Partial<HolderFields>,
  before: ModelLimits,
): ModelLimits | null {
  const names = Object.keys(modelFields) as ModelField[]
  const changed = names.filter((name) => fields[name] !== undefined)
  if (changed.length === 0) return null
  const limits = new Map(Object.entries(before).map(([model, one]) => [model, { ...one }]))
  for (const name of changed) {
    for (const one of limits.values()) delete one[modelFields[name]]
    for (const [model, limit] of Object.entries(fields[name] ?? {})) {
      limits.set(model, { ...limits.get(model), [modelFields[name]]: limit })
    }
  }
  return Object.fromEntries([...limits].filter(([, one]) => Object.keys(one).length > 0))
}

/** What a reply says of a holder besides its budget and its rates. */
export function holderReplyOf(row: HolderRow) {
  const byModel = (name: ModelField) =>
    Object.fromEntries(
      Object.entries(row.model_limits).flatMap(([model, limits]) => {
        const limit = limits[modelFields[name]]
        return limit === undefined ? [] : [[model, limit]]
      }),
    )
  return {
    budget_id: row.budget_id,
    models: row.models,
    tags: row.tags,
    metadata: row.metadata,
    blocked: row.blocked,
    model_rpm_limit: byModel('model_rpm_limit'),
    model_tpm_limit: byModel('model_tpm_limit'),
    model_max_parallel_requests: byModel('model_max_parallel_requests'),
    store_prompts: row.store_prompts,
    created_at: row.created_at.toISOString(),
    created_by: row.created_by,
    updated_at: row.updated_at.toISOString(),
  }
}

interface RateRow {
  rpm_limit: string | null
  tpm_limit: string | null
  max_parallel_requests: number | null
}

/** bigint columns as numbers. */
export function ratesOf(row: RateRow) {
  const { rpm_limit, tpm_limit, max_parallel_requests } = row
  return {
    rpm_limit: rpm_limit === null ? null : Number(rpm_limit),
    tpm_limit: tpm_limit === null ? null : Number(tpm_limit),
    max_parallel_requests,
  }
}

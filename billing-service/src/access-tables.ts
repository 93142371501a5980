// The tables of keys, teams, users, budgets and accounts as TypeScript knows them: the columns are
// explained where they are made (migrations/2026-02-keys-and-budgets.ts).
import type { Generated, JSONColumnType } from 'kysely'

/** bigint and numeric, which pg hands out as text. Amounts are pico-dollars. */
type Whole = string

export interface AccessStateTable {
  single: Generated<boolean>
  version: Generated<Whole>
  secret_fingerprint: string | null
}

/** By model group: `{"gpt-4o": {"max_budget": "…", "budget_duration": "1d"}}`, amounts as text. */
export type ModelBudgets = Record<
  string,
  { max_budget: string | null; max_tokens_budget: number | null; budget_duration: string | null }
>
/** By model group; null and absent: no limit. */
export type ModelLimits = Record<
  string,
  { rpm_limit?: number; tpm_limit?: number; max_parallel_requests?: number }
>

export interface BudgetTable {
  budget_id: string
  max_budget: Whole | null
  soft_budget: Whole | null
  max_tokens_budget: Whole | null
  budget_duration: string | null
  /** Null: the config's. */
  budget_timezone: string | null
  rpm_limit: Whole | null
  tpm_limit: Whole | null
  max_parallel_requests: number | null
  model_max_budget: JSONColumnType<ModelBudgets>
  created_at: Generated<Date>
  created_by: string | null
  updated_at: Generated<Date>
}

interface Limited {
  budget_id: string | null
  models: Generated<string[]>
  tags: Generated<string[]>
  metadata: JSONColumnType<Record<string, unknown>, string | undefined>
  blocked: Generated<boolean>
  rpm_limit: Whole | null
  tpm_limit: Whole | null
  max_parallel_requests: number | null
  model_limits: JSONColumnType<ModelLimits, string | undefined>
  /** Null: as the config says. */
  store_prompts: boolean | null
  created_at: Generated<Date>
  created_by: string | null
  updated_at: Generated<Date>
}

export interface TeamTable extends Limited {
  team_id: string
  team_alias: string | null
  organization_id: string | null
  /** Its keys' names for models: alias → model. */
  aliases: JSONColumnType<Record<string, string>, string | undefined>
}

export interface AppUserTable extends Limited {
  user_id: string
  user_alias: string | null
  user_email: string | null
  user_role: Generated<string>
}

export interface TeamMemberTable {
  team_id: string
  user_id: string
  role: 'admin' | 'user'
  added_at: Generated<Date>
}

export interface ApiKeyTable extends Limited {
  key_id: string
  secret_hash: Buffer
  key_name: string
  key_alias: string | null
  user_id: string | null
  team_id: string | null
  expires_at: Date | null
  aliases: JSONColumnType<Record<string, string>, string | undefined>
  regenerated_at: Date | null
}

export interface AccountTable {
  kind: 'key' | 'team' | 'user' | 'member'
  owner: string
  model: Generated<string>
  max_amount: Whole | null
  soft_amount: Whole | null
  max_tokens: Whole | null
  period: string | null
  zone: string | null
  period_start: Generated<Date>
  resets_at: Date | null
  period_amount: Generated<Whole>
  period_tokens: Generated<Whole>
  total_amount: Generated<Whole>
  total_tokens: Generated<Whole>
  reserved_amount: Generated<Whole>
  reserved_tokens: Generated<Whole>
  soft_notified_at: Date | null
}

export interface ReservationTable {
  request_id: string
  kind: AccountTable['kind']
  owner: string
  model: string
  amount: Whole
  tokens: Whole
  expires_at: Date
}

interface DailySums {
  /** YYYY-MM-DD in reads that cast it; pg makes a Date of it otherwise. */
  day: Date
  key_id: string
  amount: Generated<Whole>
  prompt_tokens: Generated<Whole>
  completion_tokens: Generated<Whole>
  requests: Generated<Whole>
  failures: Generated<Whole>
}

export interface DailySpendTable extends DailySums {
  user_id: string
  team_id: string
  model_group: string
  provider: string
  model: string
}

export interface DailyTagSpendTable extends DailySums {
  tag: string
}

export interface AuditLogTable {
  id: Generated<string>
  at: Generated<Date>
  actor_role: string
  actor_key_id: string | null
  actor_user_id: string | null
  correlation_id: string
  operation: string
  object_kind: string
  object_id: string
  before: JSONColumnType<Record<string, unknown>> | null
  after: JSONColumnType<Record<string, unknown>> | null
}

export interface AccessTables {
  access_state: AccessStateTable
  budget: BudgetTable
  team: TeamTable
  app_user: AppUserTable
  team_member: TeamMemberTable
  api_key: ApiKeyTable
  account: AccountTable
  reservation: ReservationTable
  daily_spend: DailySpendTable
  daily_tag_spend: DailyTagSpendTable
  audit_log: AuditLogTable
}

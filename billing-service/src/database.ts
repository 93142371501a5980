// The tables as TypeScript knows them, and how to open them.
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import { openPool, openPostgres, type PostgresOptions } from '@penstock/shared/open-postgres'
import type { PriceSource, UnitPrices } from '@penstock/shared/pricing/price'
import type { Generated, Kysely } from 'kysely'
import type { AccessTables } from './access-tables.ts'

/** bigint and numeric: pg hands them out as text, because a JavaScript number may not hold them. */
type Whole = string

/** One row per attempt: what people look at. `amount` is the ledger's, kept here for reading. */
export interface RequestLogTable {
  received_at: Date
  request_id: string
  attempt: number
  correlation_id: string
  status: 'success' | 'failure' | 'cancelled' | 'interrupted'
  error: ErrorInfo | null
  operation: Operation
  stream: boolean
  requested_model: string
  model_group: string
  deployment_id: string
  provider: string
  model: string
  api_base: string | null
  key_id: string | null
  user_id: string | null
  team_id: string | null
  end_user: string | null
  tags: string[]
  session_id: string | null
  worker_id: string
  started_at: Date
  first_token_at: Date | null
  ended_at: Date
  prompt_tokens: Whole
  completion_tokens: Whole
  cached_prompt_tokens: Whole
  cache_write_tokens: Whole
  audio_prompt_tokens: Whole
  reasoning_tokens: Whole
  audio_completion_tokens: Whole
  usage_estimated: boolean
  /** Pico-dollars. */
  amount: Whole
  price_source: PriceSource
  traceparent: string | null
}

/** Prompt and reply of an attempt, where they were to be kept; partitioned by month as the log is. */
export interface RequestContentTable {
  received_at: Date
  request_id: string
  attempt: number
  request: string
  reply: string
  truncated: boolean
}

/** The books: entries are added, never changed (a trigger sees to it). Totals are sums of these. */
export interface LedgerTable {
  id: Generated<string>
  kind: 'usage' | 'correction'
  /** Of the attempt; `correction` where the entry is one. */
  status: RequestLogTable['status'] | 'correction'
  /** Why a correction was made; null for usage. */
  reason: string | null
  request_id: string
  attempt: number
  /** When the request was received: the day it is counted for. */
  occurred_at: Date
  recorded_at: Generated<Date>
  /** Pico-dollars; a correction may be negative. */
  amount: Whole
  unit_prices: UnitPrices
  price_source: PriceSource
  prompt_tokens: Whole
  completion_tokens: Whole
  usage_estimated: boolean
  key_id: string | null
  user_id: string | null
  team_id: string | null
  end_user: string | null
  tags: string[]
  model_group: string
  deployment_id: string
  provider: string
  model: string
}

/** Messages that are no usage events, kept for whoever finds out why. */
export interface UsageDeadLetterTable {
  id: Generated<string>
  set_aside_at: Generated<Date>
  reason: string
  payload: Buffer
}

export interface Database extends AccessTables {
  request_log: RequestLogTable
  request_content: RequestContentTable
  ledger: LedgerTable
  usage_dead_letter: UsageDeadLetterTable
}

const applicationName = 'penstock-billing'

export type DatabaseOptions = Omit<PostgresOptions, 'applicationName'>

/** Connects on first use. `db.destroy()` closes it. */
export function openDatabase(options: DatabaseOptions): Kysely<Database> {
  return openPostgres<Database>({ ...options, applicationName })
}

/** For statements that are asked beside Kysely. `pool.end()` closes it. */
export function openDatabasePool(options: DatabaseOptions) {
  return openPool({ ...options, applicationName })
}

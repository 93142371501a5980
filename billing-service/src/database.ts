// The tables as TypeScript knows them, and a bounded pool that outlives a restart of Postgres.
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import type { PriceSource, UnitPrices } from '@penstock/shared/pricing/price'
import { type Generated, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
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

export interface DatabaseOptions {
  databaseUrl: string
  /** Connections at most. */
  max: number
  /** How long one statement may run, in milliseconds. */
  statementTimeoutMs: number
  /** Called when a connection breaks that nobody was using; the pool replaces it by itself. */
  onIdleError?(error: Error): void
}

/** Connects on first use. `db.destroy()` closes it. */
export function openDatabase(options: DatabaseOptions): Kysely<Database> {
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.max,
    application_name: 'penstock-billing',
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: options.statementTimeoutMs,
    // The server's own limit does not help when the server has become unreachable.
    query_timeout: options.statementTimeoutMs + 2_000,
    keepAlive: true,
  })
  pool.on('error', (error) => options.onIdleError?.(error))
  // A connection that breaks between two statements of a transaction belongs to nobody who listens;
  // the next statement fails all the same.
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
}

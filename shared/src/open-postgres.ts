// A bounded pool of connections to Postgres that outlives a restart of it.
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'

export interface PostgresOptions {
  databaseUrl: string
  /** As the server's own views show it. */
  applicationName: string
  /** Connections at most. */
  max: number
  /** Of those, how many stay open although nobody uses them; none unless it is said. */
  kept?: number
  /** How long one statement may run, in milliseconds. */
  statementTimeoutMs: number
  /** Called when a connection breaks that nobody was using; the pool replaces it by itself. */
  onIdleError?(error: Error): void
  /** What each connection begins with. */
  onConnect?(client: pg.ClientBase): Promise<void>
}

/** Connects on first use. `db.destroy()` closes it. */
export function openPostgres<Tables>(options: PostgresOptions): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: openPool(options) }) })
}

/**
 * The same for whoever speaks to the driver itself: a statement so frequent that it is worth a name is
 * parsed once per connection, and Kysely gives none.
 */
export function openPool(options: PostgresOptions): pg.Pool {
  const { onConnect } = options
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.max,
    min: options.kept ?? 0,
    application_name: options.applicationName,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: options.statementTimeoutMs,
    // The server's own limit does not help when the server has become unreachable.
    query_timeout: options.statementTimeoutMs + 2_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ...(onConnect === undefined ? {} : { onConnect }),
  })
  pool.on('error', (error) => options.onIdleError?.(error))
  // A connection that breaks between two statements of a transaction belongs to nobody who listens;
  // the next statement fails all the same.
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

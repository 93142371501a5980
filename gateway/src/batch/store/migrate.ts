// Brings the tables of files and batches up to date. Several processes may do so at once: one works,
// the others wait for it and find nothing left to do.
import { Migrator } from 'kysely/migration'
import pg from 'pg'
import { openBatchDatabase } from './database.ts'
import { batchMigrations } from './migrations.ts'

/** How long one statement, the wait for another process included, may take. */
const statementTimeoutMs = 10 * 60_000

/**
 * @param databaseUrl `postgres://user:password@host:port/database`
 * @returns the names of the migrations that this call applied, oldest first
 * @throws Error that says what failed; all of a call's migrations are one transaction
 */
export async function migrateBatches(databaseUrl: string): Promise<string[]> {
  const db = openBatchDatabase({ databaseUrl, max: 2, statementTimeoutMs })
  try {
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => batchMigrations },
      // Billing's migrations are in the same database, with a table of their own.
      migrationTableName: 'batch_migration',
      migrationLockTableName: 'batch_migration_lock',
    })
    const { error, results = [] } = await migrator.migrateToLatest()
    if (error !== undefined) {
      const reason = error instanceof pg.DatabaseError ? `error ${error.code}` : 'no answer'
      const failed = results.find(({ status }) => status === 'Error')?.migrationName
      const what = failed === undefined ? 'Cannot migrate' : `Migration ${failed} failed on`
      const message = `${what} the database of files and batches (DATABASE_URL): ${reason}.`
      throw new Error(message, { cause: error })
    }
    return results.filter((r) => r.status === 'Success').map((r) => r.migrationName)
  } finally {
    await db.destroy()
  }
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type DatabaseConnection,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import { sweepFiles } from './remove-files.ts'
import type { Storage } from './storage/storage.ts'
import type { BatchDatabase } from './store/database.ts'

/** Says that these files are overdue, until they are forgotten. */
function databaseOf(overdue: Set<string>): Kysely<BatchDatabase> {
  class Driver extends DummyDriver {
    override async acquireConnection(): Promise<DatabaseConnection> {
      return {
        executeQuery: async ({ sql, parameters }) => {
          if (sql.startsWith('delete')) overdue.delete(String(parameters[0]))
          const found = sql.startsWith('update') ? [...overdue] : []
          return { rows: found.map((file_id) => ({ file_id })) as never[] }
        },
        async *streamQuery() {},
      }
    }
  }
  return new Kysely<BatchDatabase>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new Driver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
}

test('a file that cannot be removed keeps no other one from it', async () => {
  const overdue = new Set(['locked', 'other'])
  let swept = 0
  const storage: Pick<Storage, 'remove' | 'sweep'> = {
    remove: (key) => (key === 'locked' ? Promise.reject(new Error('locked')) : Promise.resolve()),
    async sweep() {
      swept += 1
    },
  }
  const places = { db: databaseOf(overdue), storage: storage as Storage }
  await assert.rejects(sweepFiles(places), /locked/)
  assert.deepEqual([...overdue], ['locked'])
  assert.equal(swept, 1)
})

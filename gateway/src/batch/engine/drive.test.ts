import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type DatabaseConnection,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import pino from 'pino'
import type { BatchDatabase } from '../store/database.ts'
import { createDrive } from './drive.ts'

/** A batch in progress whose window is open from 22 to 6 o'clock, with one open slice. */
const batch = {
  batch_id: 'b',
  status: 'in_progress',
  off_peak: '22:00-06:00 UTC',
  not_before: null,
  paused: false,
  expires_at: new Date('2026-03-02T12:00:00Z'),
  completed: 0,
  failed: 0,
  traceparent: null,
}

function openDatabase(): Kysely<BatchDatabase> {
  class Driver extends DummyDriver {
    override async acquireConnection(): Promise<DatabaseConnection> {
      return {
        executeQuery: async ({ sql }) => {
          const rows: unknown[] = sql.includes('"batch_slice"') ? [{ slice: 0 }] : [batch]
          return { rows: rows as never[] }
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

test('a window shuts also while the queue of jobs does not answer', async (t) => {
  let now = Date.parse('2026-03-02T05:59:00Z')
  const drive = createDrive({
    db: openDatabase(),
    // As of a Redis that is away: BullMQ waits for it.
    add: () => new Promise(() => {}),
    window: () => 4,
    log: pino({ level: 'silent' }),
    now: () => now,
  })
  t.after(() => drive.stop())
  const live = await drive.find('b')
  assert.equal(live?.phase, 'run')
  await sleep(100)
  now = Date.parse('2026-03-02T06:00:01Z')
  await sleep(3_500)
  assert.equal(live?.phase, 'rest')
  assert.equal(live?.running.aborted, true)
})

// Months of the request log and of kept prompts, on a real PostgreSQL: made ahead, and dropped by policy.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { migrations } from '@penstock/billing-service/migrations/table'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { keepPartitions } from '@penstock/billing-service/retention'
import { spendLogs } from '@penstock/billing-service/spend-logs'
import { type SpendLogRow, spendLogsQuery } from '@penstock/shared/contracts/spend'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { type Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { startDatabases } from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>
type TestDatabase = Awaited<ReturnType<typeof databases.create>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

const dayMs = 24 * 60 * 60_000
const forEver = { requestLogMs: null, promptsMs: null }
const content = { request: '{}', reply: '{}', truncated: false }

/** One row, with its prompt, for each moment. */
async function recordAt({ db }: TestDatabase, ...moments: string[]): Promise<void> {
  const events = moments.map((moment) =>
    usageEventOf({ requestId: moment, receivedAt: Date.parse(moment), content }),
  )
  await recordUsage(db, events)
}

/** Where the rows stand: partition → the days in it. */
async function placesOf({ db }: TestDatabase, parent: string): Promise<Record<string, string[]>> {
  const { rows } = await sql<{ part: string; ids: string[] }>`
    select tableoid::regclass::text as part, array_agg(left(request_id, 10) order by received_at) as ids
    from ${sql.ref(parent)} group by 1`.execute(db)
  return Object.fromEntries(rows.map(({ part, ids }) => [part, ids]))
}

async function partitionsOf({ db }: TestDatabase, parent: string): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select inhrelid::regclass::text as name from pg_inherits
    where inhparent = ${parent}::regclass order by 1`.execute(db)
  return rows.map((row) => row.name)
}

async function audited({ db }: TestDatabase): Promise<unknown[][]> {
  const rows = await db.selectFrom('audit_log').selectAll().orderBy('id').execute()
  return rows.map((row) => [row.actor_role, row.operation, row.object_id, row.after])
}

test('months are made ahead, and a row without one of its own is moved once it is there', async () => {
  const database = await databases.create()
  // All of them long after the months that the migration made.
  await recordAt(
    database,
    '2031-01-31T23:59:59.999Z',
    '2031-02-01T00:00:00Z',
    '2033-07-07T00:00:00Z',
  )
  assert.deepEqual(await placesOf(database, 'request_log'), {
    request_log_default: ['2031-01-31', '2031-02-01', '2033-07-07'],
  })
  const now = new Date('2031-02-28T12:00:00Z')
  const { made, dropped } = await keepPartitions(database.db, forEver, now)
  const months = ['2031_02', '2031_03', '2031_04', '2031_01', '2033_07']
  assert.deepEqual(made.toSorted(), [
    ...months.map((month) => `request_content_${month}`).toSorted(),
    ...months.map((month) => `request_log_${month}`).toSorted(),
  ])
  assert.deepEqual(dropped, [])
  for (const parent of ['request_log', 'request_content']) {
    assert.deepEqual(await placesOf(database, parent), {
      [`${parent}_2031_01`]: ['2031-01-31'],
      [`${parent}_2031_02`]: ['2031-02-01'],
      [`${parent}_2033_07`]: ['2033-07-07'],
    })
  }
  // It is done, and two services at once do it once.
  const again = await Promise.all([1, 2].map(() => keepPartitions(database.db, forEver, now)))
  assert.deepEqual(again, Array(2).fill({ made: [], dropped: [], deletedRows: 0 }))
  await database.close()
})

test('the log goes by whole months, prompts by the day, the ledger never; all of it is audited', async () => {
  const database = await databases.create()
  const days = ['2031-03-01', '2031-04-30', '2031-05-01', '2031-06-09', '2031-06-11']
  await recordAt(database, ...days.map((day) => `${day}T00:00:00Z`))
  await keepPartitions(database.db, forEver, new Date('2031-06-20T00:00:00Z'))
  await recordAt(database, '2031-02-01T00:00:00Z')

  const retention = { requestLogMs: 31 * dayMs, promptsMs: 10 * dayMs }
  const kept = await keepPartitions(database.db, retention, new Date('2031-06-20T00:00:00Z'))
  assert.deepEqual(await placesOf(database, 'request_log'), {
    request_log_2031_05: ['2031-05-01'],
    request_log_2031_06: ['2031-06-09', '2031-06-11'],
  })
  assert.deepEqual(await placesOf(database, 'request_content'), {
    request_content_2031_06: ['2031-06-11'],
  })
  const left = (await partitionsOf(database, 'request_log')).filter((name) => /2031/.test(name))
  const months = ['05', '06', '07', '08'].map((month) => `request_log_2031_${month}`)
  assert.deepEqual(left, months)
  for (const month of ['03', '04', '05']) {
    assert.ok(kept.dropped.includes(`request_content_2031_${month}`))
  }
  // The late row of February; its prompt and that of June 9.
  assert.equal(kept.deletedRows, 3)
  const entries = await audited(database)
  assert.equal(entries.length, kept.dropped.length + 2)
  const logCutoff = new Date(Date.parse('2031-06-20') - 31 * dayMs).toISOString()
  assert.deepEqual(
    entries.find(([, , id]) => id === 'request_log_2031_03'),
    ['system', 'retention.drop', 'request_log_2031_03', { before: logCutoff }],
  )
  const { rows } = await sql<{ entries: number }>`
    select count(*)::int as entries from ledger`.execute(database.db)
  assert.equal(rows[0]?.entries, 6)
  await database.close()
})

test('the rows of a log that was one table are found in their months after the migration', async () => {
  const database = await databases.create({ migrated: false })
  const names = Object.keys(migrations)
  const upTo = (last: number) => migrateWith(database.db, names.slice(0, last + 1))
  await upTo(names.indexOf('2026-02-keys-and-budgets'))
  await sql`
    insert into request_log select (json_populate_record(null::request_log, json_build_object(
      'received_at', '2026-04-30T23:59:59.999Z'::timestamptz + n * interval '1 millisecond',
      'request_id', 'r' || n, 'attempt', 1, 'correlation_id', '', 'status', 'success',
      'operation', 'chat', 'stream', false, 'requested_model', 'm', 'model_group', 'm',
      'deployment_id', 'd', 'provider', 'p', 'model', 'm', 'tags', '{}'::text[],
      'worker_id', 'w', 'started_at', now(), 'ended_at', now(), 'prompt_tokens', 1,
      'completion_tokens', 1, 'cached_prompt_tokens', 0, 'cache_write_tokens', 0,
      'audio_prompt_tokens', 0, 'reasoning_tokens', 0, 'audio_completion_tokens', 0,
      'usage_estimated', false, 'amount', 1, 'price_source', 'configured'))).*
    from generate_series(0, 1) as n`.execute(database.db)
  await upTo(names.length)
  assert.deepEqual(await placesOf(database, 'request_log'), {
    request_log_2026_04: ['r0'],
    request_log_2026_05: ['r1'],
  })
  const actor = { role: 'master', keyId: 'master', userId: null, teamId: null }
  const { body } = await spendLogs(database.db, spendLogsQuery.parse({ actor }))
  assert.deepEqual(
    JSON.parse(`[${body}]`).map((row: SpendLogRow) => row.request_id),
    ['r1', 'r0'],
  )
  await database.close()
})

async function migrateWith(db: Kysely<never> | TestDatabase['db'], names: string[]): Promise<void> {
  const wanted = Object.fromEntries(
    Object.entries(migrations).filter(([name]) => names.includes(name)),
  )
  const provider = { getMigrations: async () => wanted }
  const { error } = await new Migrator({ db: db as Kysely<never>, provider }).migrateToLatest()
  assert.equal(error, undefined)
}

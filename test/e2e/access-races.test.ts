// Admin changes beside what goes on at the same time, on a real NATS and a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { sql } from 'kysely'
import { eventually } from '../harness/eventually.ts'
import { type AdminSetup, startAdmin } from './admin-setup.ts'

let admin: AdminSetup

before(async () => {
  admin = await startAdmin()
})
after(() => admin.close())

/** Whether a statement of billing's waits for another transaction. */
async function somebodyWaits(): Promise<boolean> {
  const { rows } = await sql<{ waiting: number }>`
    select count(*)::int as waiting from pg_stat_activity
    where wait_event_type = 'Lock' and datname = current_database()`.execute(admin.db)
  return (rows[0]?.waiting ?? 0) > 0
}

test('a budget for a model, given while its holder spends for the first time, counts that too', async () => {
  const { db, asMaster, accountOf } = admin
  // A user that a key names has no account before it spends.
  await asMaster('key.generate', { user_id: 'newcomer' })
  const caller = { keyId: 'key_new', userId: 'newcomer', teamId: null, endUser: null }
  const event = usageEventOf({ requestId: 'first', caller, receivedAt: Date.now() })
  const spending = await db.startTransaction().execute()
  await recordUsage(spending, [event])
  const model = event.group
  const update = asMaster('user.update', { user_id: 'newcomer', model_max_budget: { [model]: 5 } })
  await eventually('the update waits', somebodyWaits)
  await spending.commit().execute()
  await update
  const whole = await accountOf('user', 'newcomer')
  assert.notEqual(whole?.total_amount, '0')
  assert.equal((await accountOf('user', 'newcomer', model))?.period_amount, whole?.period_amount)
  assert.deepEqual((await asMaster('spend.rebuild', { dry_run: true })).differences, [])
})

test('a change whose answer is too large is not made', async () => {
  const { asMaster } = admin
  const names = Array.from({ length: 645 }, (_, at) => `${'模'.repeat(240)}${at}`)
  const wanted = { team_id: 'wide', model_max_budget: Object.fromEntries(names.map((n) => [n, 1])) }
  await assert.rejects(asMaster('team.new', wanted), { code: 'invalid_request' })
  await assert.rejects(asMaster('team.info', { team_id: 'wide' }), { code: 'not_found' })
})

test('new rates of a shared budget do not wait for the accounts of whoever names it', async () => {
  const { db, asMaster } = admin
  await asMaster('budget.new', { budget_id: 'shared', max_budget: 5 })
  const key = await asMaster('key.generate', { budget_id: 'shared' })
  const paying = await db.startTransaction().execute()
  await sql`select from account where owner = ${key.token} for update`.execute(paying)
  try {
    const changed = await asMaster('budget.update', { budget_id: 'shared', rpm_limit: 7 })
    assert.deepEqual([changed.rpm_limit, changed.max_budget], [7, 5])
  } finally {
    await paying.rollback().execute()
  }
  await asMaster('budget.update', { budget_id: 'shared', max_budget: 6, rpm_limit: 8 })
  const { info } = await asMaster('key.info', { key: key.token })
  assert.deepEqual([info.max_budget, info.rpm_limit], [6, 8])
})

// A correction that brings an account to its soft limit, on a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { correctSpend } from '@penstock/billing-service/money/correct'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { startDatabases } from './billing-setup.ts'
import { dollar, freshDatabase, setBudget, team, usage } from './money-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

test('a soft limit that a correction reaches is reported with the next usage, once', async (t) => {
  const { db } = await freshDatabase(t, databases)
  await setBudget(db, team, { soft: 3n * dollar })
  const crossedBy = async (requestId: string) =>
    (await recordUsage(db, [usage(requestId, 1)])).crossings.map(({ owner }) => owner)
  assert.deepEqual(await crossedBy('first'), [])
  const correction = { requestId: 'first', attempt: 1, amount: 2n * dollar, reason: 'too little' }
  await db.transaction().execute((trx) => correctSpend(trx, correction))
  assert.deepEqual(await crossedBy('second'), [team.owner])
  assert.deepEqual(await crossedBy('third'), [])
})

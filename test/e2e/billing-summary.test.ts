// What /spend/logs?summarize=true is answered from, on a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { spendSummary } from '@penstock/billing-service/spend-summary'
import { spendSummary as summarySchema } from '@penstock/shared/contracts/spend'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { startDatabases } from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

async function databaseWith(events: UsageEvent[]) {
  const database = await databases.create()
  await recordUsage(database.db, events)
  return database
}

const nobody = usageEventOf().caller
const actor = { role: 'master' as const, keyId: 'master', userId: null, teamId: null }
const at = (iso: string) => Date.parse(iso)

test('the summary adds up days, users, models and keys, exactly', async () => {
  const tenCents = { inputCostPerToken: 0.1 }
  const event = (id: string, day: string, userId: string | null, model: string, keyId: string) =>
    usageEventOf({
      requestId: id,
      receivedAt: at(day),
      caller: { ...nobody, userId, keyId },
      model,
      priceRef: null,
      prices: tenCents,
      usage: tokens(1, 0),
    })
  const database = await databaseWith([
    event('a', '2026-05-01T00:00:00Z', 'u1', 'm1', 'k1'),
    event('b', '2026-05-01T23:59:59.999Z', 'u1', 'm2', 'k1'),
    event('c', '2026-05-01T12:00:00Z', null, 'm2', 'k2'),
    event('d', '2026-05-03T00:00:00Z', 'u2', 'm1', 'k1'),
    event('e', '2026-05-04T00:00:00Z', 'u2', 'm1', 'k1'),
  ])
  const range = { actor, start_date: '2026-05-01', end_date: '2026-05-03' }
  const first = {
    startTime: '2026-05-01',
    spend: 0.3,
    users: { u1: 0.2, '': 0.1 },
    models: { m1: 0.1, m2: 0.2 },
    k1: 0.2,
    k2: 0.1,
  }
  const empty = { startTime: '2026-05-02', spend: 0, users: {}, models: {} }
  const third = {
    startTime: '2026-05-03',
    spend: 0.1,
    users: { u2: 0.1 },
    models: { m1: 0.1 },
    k1: 0.1,
  }
  const summary = summarySchema.parse(await spendSummary(database.db, range))
  assert.deepEqual(summary, { days: [first, empty, third], nextStart: null })

  const ofUser = await spendSummary(database.db, { ...range, user_id: 'u1', api_key: 'k1' })
  assert.deepEqual(
    ofUser.days.map((day) => day.spend),
    [0.2, 0, 0],
  )
  await database.close()
})

test('a long summary continues where it stopped, and no day is missing', async () => {
  const events = ['2026-01-01T00:00:00Z', '2026-03-31T00:00:00Z'].flatMap((day) =>
    Array.from({ length: 2_600 }, (_, i) =>
      usageEventOf({
        requestId: `${day}-${i}`,
        receivedAt: at(day),
        caller: { ...nobody, userId: `user-${i}` },
      }),
    ),
  )
  const database = await databaseWith(events)
  const days: string[] = []
  let spend = 0
  let start: string | null = '2026-01-01'
  for (let answers = 0; start !== null && answers < 10; answers++) {
    const question = { actor, start_date: start, end_date: '2026-03-31' }
    const { days: some, nextStart } = await spendSummary(database.db, question)
    days.push(...some.map((day) => day.startTime))
    for (const day of some) spend += day.spend
    start = nextStart
  }
  assert.equal(days.length, 90)
  assert.deepEqual(days, [...new Set(days)].toSorted())
  assert.equal(spend, 2 * 2_600 * 0.0045)
  await database.close()
})

test('a summary of too much is refused', async () => {
  const database = await databaseWith([])
  const refused = { code: 'invalid_request' }
  const ask = (start_date: string, end_date: string) =>
    spendSummary(database.db, { actor, start_date, end_date })
  await assert.rejects(ask('2026-01-02', '2026-01-01'), refused)
  await assert.rejects(ask('2025-01-01', '2026-01-02'), refused)
  await assert.rejects(ask('0001-01-01', '9999-12-31'), refused)
  assert.equal((await ask('2025-01-01', '2026-01-01')).nextStart, '2025-02-01')
  await database.close()
})

test('days whose names are long are answered in several parts, each small enough for a message', async () => {
  const long = (n: number) => `${'ü'.repeat(120)}${n}`
  const events = ['2026-05-01', '2026-05-02', '2026-05-03'].flatMap((day) =>
    Array.from({ length: 1_500 }, (_, n) =>
      usageEventOf({
        requestId: `${day}-${n}`,
        receivedAt: at(`${day}T12:00:00Z`),
        caller: { ...nobody, userId: long(n) },
      }),
    ),
  )
  const database = await databaseWith(events)
  const range = { actor, start_date: '2026-05-01', end_date: '2026-05-03' }
  const days: string[] = []
  let start: string | null = range.start_date
  while (start !== null) {
    const part = summarySchema.parse(
      await spendSummary(database.db, { ...range, start_date: start }),
    )
    assert.ok(Buffer.byteLength(JSON.stringify(part)) < 1024 * 1024)
    days.push(...part.days.map(({ startTime }) => startTime))
    start = part.nextStart
  }
  assert.deepEqual(days, ['2026-05-01', '2026-05-02', '2026-05-03'])
  await database.close()
})

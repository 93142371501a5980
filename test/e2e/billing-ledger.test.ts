// The ledger on a real PostgreSQL: what is recorded, how often, and that nothing can change it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { databaseErrorCode } from '@penstock/billing-service/database-error'
import { migrate } from '@penstock/billing-service/migrate'
import { migrations } from '@penstock/billing-service/migrations/table'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { storeUsage } from '@penstock/billing-service/store-usage'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { books, startDatabases } from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

/** gpt-4o: each of them costs (100 + i) × 2.5 dollars per million. */
function eventsOf(count: number): UsageEvent[] {
  return Array.from({ length: count }, (_, i) =>
    usageEventOf({ requestId: `req-${i}`, usage: tokens(100 + i, 0) }),
  )
}

function costOf(events: UsageEvent[]): bigint {
  return events.reduce((sum, { usage }) => sum + BigInt(usage.promptTokens) * 2_500_000n, 0n)
}

const encode = (events: unknown) => Buffer.from(JSON.stringify(events))

test('processes that migrate at the same time apply each migration once between them', async () => {
  const { url, close } = await databases.create({ migrated: false })
  const applied = await Promise.all([migrate(url), migrate(url), migrate(url), migrate(url)])
  assert.deepEqual(applied.flat(), Object.keys(migrations))
  assert.deepEqual(await migrate(url), [])
  await close()
})

test('a database that cannot be migrated is named, but not its password', async () => {
  await assert.rejects(migrate('postgres://me:hunter2@127.0.0.1:1/books'), (error: Error) => {
    assert.match(error.message, /127\.0\.0\.1:1\/books .*connection refused/)
    assert.doesNotMatch(error.message, /hunter2/)
    return true
  })
  await assert.rejects(migrate('not a url with hunter2'), (error: Error) => {
    assert.doesNotMatch(error.message, /hunter2/)
    return true
  })
})

test('an event that is recorded five times stands in the books once', async () => {
  const { db, close } = await databases.create()
  const event = usageEventOf({ usage: tokens(1_000, 200) })
  assert.partialDeepStrictEqual(await recordUsage(db, [event]), { recorded: 1, duplicates: 0 })
  for (let again = 0; again < 4; again++) {
    assert.partialDeepStrictEqual(await recordUsage(db, [event]), { recorded: 0, duplicates: 1 })
  }
  const cost = 4_500_000_000n
  assert.deepEqual(await books(db), { entries: 1, amount: cost, logged: 1, log_amount: cost })
  await close()
})

test('attempts of one request have an entry each', async () => {
  const { db, close } = await databases.create()
  const attempts = [1, 2, 3].map((attempt) => usageEventOf({ attempt, usage: tokens(10, 0) }))
  assert.partialDeepStrictEqual(await recordUsage(db, attempts), { recorded: 3 })
  await close()
})

test('a batch may hold the same event twice', async () => {
  const { db, close } = await databases.create()
  const [first, second] = eventsOf(2)
  assert.ok(first !== undefined && second !== undefined)
  const result = await recordUsage(db, [first, second, first, first])
  assert.partialDeepStrictEqual(result, { recorded: 2, duplicates: 2 })
  assert.equal((await books(db)).amount, costOf([first, second]))
  await close()
})

test('overlapping batches at the same time, in any order, count each event once', async () => {
  const { db, close } = await databases.create()
  const events = eventsOf(1_200)
  const batches = Array.from({ length: 10 }, (_, i) => {
    const part = events.slice(i * 60, i * 60 + 660)
    return i % 2 === 0 ? part : part.toReversed()
  })
  const results = await Promise.all(batches.map((batch) => recordUsage(db, batch)))
  const recorded = results.reduce((sum, result) => sum + result.recorded, 0)
  const handled = results.reduce((sum, result) => sum + result.recorded + result.duplicates, 0)
  assert.equal(recorded, 1_200)
  assert.equal(handled, 10 * 660)
  const cost = costOf(events)
  assert.deepEqual(await books(db), {
    entries: 1_200,
    amount: cost,
    logged: 1_200,
    log_amount: cost,
  })
  await close()
})

test('the entry keeps the unit prices that were used', async () => {
  const { db, close } = await databases.create()
  const usage = tokens(1_000, 200, { cachedPromptTokens: 400 })
  await recordUsage(db, [usageEventOf({ usage, tags: ['a', 'b"\\{,}', 'NULL', ''] })])
  const entry = await db.selectFrom('ledger').selectAll().executeTakeFirstOrThrow()
  assert.deepEqual(entry.unit_prices, {
    input: { quantity: 600, price: '0.0000025' },
    cacheRead: { quantity: 400, price: '0.00000125' },
    output: { quantity: 200, price: '0.00001' },
  })
  assert.equal(entry.amount, '4000000000')
  assert.equal(entry.price_source, 'price-table')
  assert.deepEqual(entry.tags, ['a', 'b"\\{,}', 'NULL', ''])
  await close()
})

test('an amount beyond 64 bits is kept to the last digit', async () => {
  const { db, close } = await databases.create()
  const prices = { inputCostPerToken: 1_000_000.000001 }
  await recordUsage(db, [usageEventOf({ priceRef: null, prices, usage: tokens(1_000_000, 0) })])
  assert.equal((await books(db)).amount, 1_000_000_000_001_000_000_000_000n)
  await close()
})

test('a batch with an event that the database refuses leaves nothing behind', async () => {
  const { db, close } = await databases.create()
  const tooLarge = usageEventOf({ requestId: 'zzz', attempt: 3_000_000_000 })
  await assert.rejects(recordUsage(db, [...eventsOf(3), tooLarge]))
  assert.equal((await books(db)).entries, 0)
  await close()
})

test('what cannot be recorded is set aside, and all around it is recorded', async () => {
  const { db, close } = await databases.create()
  const refused = usageEventOf({ requestId: 'refused', attempt: 3_000_000_000 })
  const impossible = usageEventOf({ requestId: 'impossible', endedAt: Number.MAX_SAFE_INTEGER })
  const [first, ...rest] = eventsOf(10)
  const messages = [[first, refused], [impossible], rest].map(encode)
  const stored = await storeUsage(db, [...messages, Buffer.from('garbage')])
  assert.equal(stored.entries.length, 10)
  const letters = await db.selectFrom('usage_dead_letter').selectAll().orderBy('id').execute()
  assert.deepEqual(letters.map((letter) => letter.reason).toSorted(), [
    'no price or row can be made of it',
    'not JSON',
    'refused by the database: 22003',
  ])
  const kept = letters.find((letter) => letter.reason.startsWith('refused'))
  assert.deepEqual(JSON.parse(kept?.payload.toString() ?? ''), refused)
  await close()
})

test('an entry of the ledger can be neither changed nor removed', async () => {
  const { db, close } = await databases.create()
  await recordUsage(db, eventsOf(2))
  const attempts = [
    db.updateTable('ledger').set({ attempt: 7 }),
    db.deleteFrom('ledger').where('request_id', '=', 'req-1'),
  ]
  for (const attempt of attempts) {
    await assert.rejects(attempt.execute(), (error) => databaseErrorCode(error) === '23001')
  }
  assert.equal((await books(db)).entries, 2)
  await close()
})

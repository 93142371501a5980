// Reservations on a real PostgreSQL: who is granted what, how usage settles it, and how it ends.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { rebuild } from '@penstock/billing-service/money/rebuild'
import { reserve } from '@penstock/billing-service/money/reserve'
import { sweepReservations } from '@penstock/billing-service/money/sweep'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { listen } from '@penstock/shared/bus/broadcast'
import type { AccountRef } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { quiet, startDatabases } from './billing-setup.ts'
import {
  accountOf,
  dollar,
  freshDatabase,
  key,
  question,
  reservations,
  setBudget,
  startServices,
  team,
  usage,
} from './money-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

test('of 200 that ask two services at once exactly those are granted that the budget pays for', async (t) => {
  const { db, ask: asks } = await startServices(t, databases, 2)
  await setBudget(db, key, { max: 50n * dollar })
  await setBudget(db, team, { max: 1_000n * dollar })
  // In this order and in the other one: nobody may wait for anybody in a circle.
  const replies = await Promise.all(
    Array.from({ length: 200 }, (_, i) => {
      const accounts = i % 2 === 0 ? [key, team] : [team, key]
      return asks(question(`req-${i}`, dollar, { accounts }))
    }),
  )
  const granted = replies.filter((reply) => reply.granted)
  assert.equal(granted.length, 50)
  for (const reply of replies) {
    if (reply.granted) continue
    assert.equal(reply.exceeded, 'money')
    assert.partialDeepStrictEqual(reply.by, { ...key, spent: '0', reserved: String(50n * dollar) })
    assert.equal(reply.by.limit, String(50n * dollar))
  }
  assert.equal((await accountOf(db, key)).reserved, 50n * dollar)
  // All or nothing: the team holds nothing for those that the key refused.
  assert.equal((await accountOf(db, team)).reserved, 50n * dollar)
})

test('what is asked twice is reserved once, with the same answer', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 3n * dollar })
  const asked = question('req', 2n * dollar)
  const first = await reserve(pool, [asked])
  assert.deepEqual(await reserve(pool, [asked, asked]), [...first, ...first])
  assert.deepEqual(first, [
    {
      granted: true,
      accounts: [
        {
          ...key,
          spent: '0',
          reserved: '0',
          limit: String(3n * dollar),
          tokensSpent: 0,
          tokensReserved: 0,
          tokensLimit: null,
          resetsAt: null,
        },
      ],
    },
  ])
  assert.equal((await accountOf(db, key)).reserved, 2n * dollar)
})

test('tokens are a budget too, and an account that does not exist has none', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { tokens: 15 })
  const nobody: AccountRef = { kind: 'user', owner: 'unknown', model: '' }
  const asked = [question('a', 0n, { accounts: [key, nobody] }), question('b', 0n)]
  const [granted, refused] = await reserve(pool, asked)
  assert.equal(granted?.granted, true)
  assert.partialDeepStrictEqual(refused, { granted: false, exceeded: 'tokens' })
  assert.equal((await accountOf(db, key)).tokensReserved, 10)
})

test('usage settles what was reserved: a success wholly, a failure by what it cost', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 100n * dollar })
  await setBudget(db, { ...key, model: 'smart' }, { max: 100n * dollar })
  const accounts = [key, { ...key, model: 'smart' }]
  await reserve(pool, [question('req', 10n * dollar, { accounts })])
  await recordUsage(db, [usage('req', 3, { status: 'failure' })])
  for (const account of accounts) {
    const { spent, reserved } = await accountOf(db, account)
    assert.deepEqual({ spent, reserved }, { spent: 3n * dollar, reserved: 7n * dollar })
  }
  // Redelivered, the failure frees nothing more.
  await recordUsage(db, [usage('req', 3, { status: 'failure' })])
  assert.equal((await accountOf(db, key)).reserved, 7n * dollar)
  await recordUsage(db, [usage('req', 4, { attempt: 2 })])
  for (const account of accounts) {
    const { spent, reserved, tokensReserved } = await accountOf(db, account)
    assert.deepEqual([spent, reserved, tokensReserved], [7n * dollar, 0n, 0])
  }
  assert.deepEqual(await reservations(db), [])
  // A fallback's group pays from the key's account, not from the model's.
  await recordUsage(db, [usage('other', 1, { group: 'fallback' })])
  assert.equal((await accountOf(db, key)).spent, 8n * dollar)
  assert.equal((await accountOf(db, { ...key, model: 'smart' })).spent, 7n * dollar)
})

test('a release frees at once, or shortens the lease, before or after the usage', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 100n * dollar })
  const names = ['now', 'later', 'early', 'together']
  await reserve(
    pool,
    names.map((name) => question(name, dollar)),
  )
  await recordUsage(db, [], [{ requestId: 'now', within: 0 }])
  const releases = [{ requestId: 'later', within: 15_000 }]
  await recordUsage(db, [], releases)
  // The release overtook the usage: what was spent counts all the same.
  await recordUsage(db, [], [{ requestId: 'early', within: 0 }])
  await recordUsage(db, [usage('early', 1, { status: 'cancelled' })])
  const together = [usage('together', 2, { status: 'failure' })]
  await recordUsage(db, together, [{ requestId: 'together', within: 0 }])
  assert.deepEqual(await reservations(db), [['later', dollar]])
  const { spent, reserved } = await accountOf(db, key)
  assert.deepEqual({ spent, reserved }, { spent: 3n * dollar, reserved: dollar })

  assert.equal(await sweepReservations(db), 0)
  assert.equal(await sweepReservations(db, new Date(Date.now() + 20_000)), 1)
  assert.equal((await accountOf(db, key)).reserved, 0n)
})

test('a lease that has expired never refuses anybody', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: dollar })
  await setBudget(db, team, { max: dollar })
  const accounts = [key, team]
  await reserve(pool, [question('lost', dollar, { accounts })])
  const [refused] = await reserve(pool, [question('next', dollar, { accounts })])
  assert.equal(refused?.granted, false)
  const later = new Date(Date.now() + 700_000)
  const expiresAt = later.getTime() + 60_000
  const [granted] = await reserve(pool, [question('next', dollar, { accounts, expiresAt })], later)
  assert.equal(granted?.granted, true)
  assert.deepEqual(await reservations(db), [
    ['next', dollar],
    ['next', dollar],
  ])
})

test('a budget begins anew at midnight of its zone, with what came before left to the old day', async (t) => {
  const { db, url, pool } = await freshDatabase(t, databases)
  const berlin = { period: '1d', zone: 'Europe/Berlin', start: '2026-03-27T23:00:00Z' }
  await setBudget(db, key, { max: 5n * dollar, ...berlin })
  // Clocks go forward on this night: the day of 29 March has 23 hours.
  const evening = new Date('2026-03-28T22:59:00Z')
  const night = new Date('2026-03-28T23:00:00Z')
  await recordUsage(db, [usage('a', 4, { receivedAt: evening.getTime() })], [], evening)
  const late = night.getTime() + 3_600_000
  const asked = (name: string) => [question(name, 2n * dollar, { expiresAt: late })]
  const [refused] = await reserve(pool, asked('b'), evening)
  assert.partialDeepStrictEqual(refused, {
    granted: false,
    by: { spent: String(4n * dollar), reserved: '0', resetsAt: night.getTime() },
  })
  const [granted] = await reserve(pool, asked('b'), night)
  assert.partialDeepStrictEqual(granted, { granted: true })
  const next = await accountOf(db, key)
  assert.equal(next.spent, 0n)
  assert.equal(next.resetsAt?.toISOString(), '2026-03-29T22:00:00.000Z')

  // Received yesterday, recorded today: no part of this period, but of the total.
  await recordUsage(db, [usage('c', 1, { receivedAt: evening.getTime() })], [], night)
  await recordUsage(db, [usage('d', 2, { receivedAt: night.getTime() })], [], night)
  const { spent, total } = await accountOf(db, key)
  assert.deepEqual({ spent, total }, { spent: 2n * dollar, total: 7n * dollar })
  assert.equal((await rebuild(url, true)).differing, 0)
})

test('a soft budget is said once in a period', async (t) => {
  const { bus, db, recorder, publish, stored } = await startServices(t, databases, 2)
  await setBudget(db, key, { soft: 5n * dollar })
  const heard: string[] = []
  const sub = listen(bus, quiet, channels.softBudget, ({ owner }) => heard.push(owner))
  for (let i = 0; i < 10; i++) await publish([usage(`req-${i}`, 1)])
  await stored()
  await recorder.until('that it was reached', (lines) =>
    lines.some((line) => line.msg === 'soft budget reached'),
  )
  await bus.nc.flush()
  assert.deepEqual(heard, ['k'])
  const said = recorder.lines.filter((line) => line.msg === 'soft budget reached')
  assert.equal(said.length, 1)
  assert.partialDeepStrictEqual(said[0], { kind: 'key', owner: 'k', softBudgetUsd: '5' })
  sub.unsubscribe()
})

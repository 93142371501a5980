// When the periods of budgets begin and end, and how long keys last, as PostgreSQL reckons it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { fromNowOn } from '@penstock/billing-service/access/durations'
import { sql } from 'kysely'
import { startDatabases } from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>
let database: Awaited<ReturnType<typeof databases.create>>

before(async () => {
  databases = await startDatabases()
  database = await databases.create()
})
after(async () => {
  await database.close()
  await databases.close()
})

describe('the periods of budgets', () => {
  // zone, period, a moment; where the period begins that has the moment in its first unit, and ends
  const cases: [string, string, string, string, string][] = [
    ['UTC', '1d', '2026-05-20T13:00:00Z', '2026-05-20T00:00:00Z', '2026-05-21T00:00:00Z'],
    ['UTC', '30d', '2026-05-20T13:00:00Z', '2026-05-20T00:00:00Z', '2026-06-19T00:00:00Z'],
    ['UTC', '1w', '2026-05-20T13:00:00Z', '2026-05-18T00:00:00Z', '2026-05-25T00:00:00Z'],
    ['UTC', '1mo', '2026-01-31T13:00:00Z', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'],
    ['UTC', '3mo', '2026-11-30T00:00:00Z', '2026-11-01T00:00:00Z', '2027-02-01T00:00:00Z'],
    ['UTC', '90m', '2026-05-20T13:00:00Z', '2026-05-20T13:00:00Z', '2026-05-20T14:30:00Z'],
    ['UTC', '45s', '2026-05-20T13:00:00Z', '2026-05-20T13:00:00Z', '2026-05-20T13:00:45Z'],
    // The clocks go forward on 2026-03-29 and back on 2026-10-25: days of 23 and 25 hours.
    ['Europe/Berlin', '1d', '2026-03-29T10:00:00Z', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z'],
    ['Europe/Berlin', '1d', '2026-10-25T10:00:00Z', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    [
      'Europe/Berlin',
      '24h',
      '2026-03-28T23:00:00Z',
      '2026-03-28T23:00:00Z',
      '2026-03-29T23:00:00Z',
    ],
    [
      'Europe/Berlin',
      '1mo',
      '2026-03-31T22:30:00Z',
      '2026-03-31T22:00:00Z',
      '2026-04-30T22:00:00Z',
    ],
    [
      'America/New_York',
      '1w',
      '2026-05-25T03:00:00Z',
      '2026-05-18T04:00:00Z',
      '2026-05-25T04:00:00Z',
    ],
    [
      'Pacific/Kiritimati',
      '1d',
      '2026-05-20T10:00:00Z',
      '2026-05-20T10:00:00Z',
      '2026-05-21T10:00:00Z',
    ],
    // Midnight was skipped there: the day begins at one o'clock, the next one at midnight again.
    [
      'America/Sao_Paulo',
      '1d',
      '2018-11-04T12:00:00Z',
      '2018-11-04T03:00:00Z',
      '2018-11-05T02:00:00Z',
    ],
  ]

  test('are those of the calendar in a zone, or as long as they say', async () => {
    for (const [zone, period, at, start, end] of cases) {
      const { rows } = await sql<{ start: Date; end: Date }>`
        select start, budget_period_end(${period}, start, ${zone}) as end
        from budget_period_start(${period}, ${at}::timestamptz, ${zone}) as start`.execute(
        database.db,
      )
      const found = [rows[0]?.start, rows[0]?.end].map((moment) => moment?.getTime())
      assert.deepEqual(found, [Date.parse(start), Date.parse(end)], `${period} ${zone} ${at}`)
    }
  })

  test('follow one another without a gap, however many went by unseen', async () => {
    const first = '2026-01-31T12:00:00Z'
    for (const zone of ['UTC', 'Europe/Berlin', 'America/New_York', 'America/Havana']) {
      for (const period of ['7s', '90m', '13h', '1d', '10d', '1w', '2w', '1mo', '5mo']) {
        const { rows } = await sql<{ wrong: string }>`
          with moments as (
            select ${first}::timestamptz + n * interval '11 hours 7 minutes' as at
            from generate_series(0, 300) as n
          )
          select at::text as wrong from moments,
            lateral (select budget_period_start(${period}, ${first}::timestamptz, ${zone})) as f(first),
            lateral (select budget_period_at(${period}, f.first, at, ${zone})) as s(start),
            lateral (select budget_period_end(${period}, s.start, ${zone})) as e("end")
          where not (s.start <= at and at < e."end")
            or budget_period_at(${period}, f.first, e."end", ${zone}) <> e."end"`.execute(
          database.db,
        )
        assert.deepEqual(rows, [], `${period} ${zone}`)
      }
    }
  })
})

test('a key lasts as long as its duration says, in hours that no clock change touches', async () => {
  const [hour, day] = [3_600, 86_400]
  const seconds = { '45s': 45, '15m': 900, '12h': 12 * hour, '30d': 30 * day, '2w': 14 * day }
  for (const [duration, expected] of Object.entries(seconds)) {
    const lasts = sql<{ lasts: string }>`
      select extract(epoch from ${fromNowOn(duration)} - now())::int as lasts`
    assert.equal((await lasts.execute(database.db)).rows[0]?.lasts, expected, duration)
  }
  const { rows } = await sql<{ same: boolean }>`
    select (${fromNowOn('2mo')} at time zone 'UTC')
      = (now() at time zone 'UTC') + interval '2 months' as same`.execute(database.db)
  assert.equal(rows[0]?.same, true)
  assert.throws(() => fromNowOn('5y'), /duration/)
})

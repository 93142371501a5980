// Totals on a real PostgreSQL: every one is the sum of its entries, whatever comes twice, at once or
// late; what is found to differ is said and mended.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { migrate } from '@penstock/billing-service/migrate'
import { migrations } from '@penstock/billing-service/migrations/table'
import { correctSpend } from '@penstock/billing-service/money/correct'
import { rebuild } from '@penstock/billing-service/money/rebuild'
import { reserve } from '@penstock/billing-service/money/reserve'
import { sweepReservations } from '@penstock/billing-service/money/sweep'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { ask } from '@penstock/shared/bus/request-reply'
import type { Actor, AdminOperationName } from '@penstock/shared/contracts/admin'
import type { AccountRef, ReserveQuestion } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { startPart } from '../harness/cli-part.ts'
import { books, startDatabases } from './billing-setup.ts'
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

test('an event that is delivered five times to two services moves every total once', async (t) => {
  const { db, url, ask: asks, publish, stored } = await startServices(t, databases, 2)
  await setBudget(db, key, { max: 100n * dollar })
  await asks(question('req', 9n * dollar))
  const event = usage('req', 2, { tags: ['a', 'b', 'a'] })
  await Promise.all([1, 2, 3, 4].map(() => publish([event])))
  await publish([event, event])
  await stored()
  assert.partialDeepStrictEqual(await accountOf(db, key), {
    spent: 2n * dollar,
    total: 2n * dollar,
    reserved: 0n,
    tokens: 2,
  })
  assert.equal((await accountOf(db, team)).total, 2n * dollar)
  const days = await db.selectFrom('daily_spend').select(['amount', 'requests']).execute()
  assert.deepEqual(days, [{ amount: String(2n * dollar), requests: '1' }])
  const tags = await db.selectFrom('daily_tag_spend').select(['tag', 'requests']).execute()
  assert.deepEqual(
    tags.toSorted((a, b) => (a.tag < b.tag ? -1 : 1)),
    [
      { tag: 'a', requests: '1' },
      { tag: 'b', requests: '1' },
    ],
  )
  assert.equal((await books(db)).entries, 1)
  assert.equal((await rebuild(url, true)).differing, 0)
})

/** Deterministic, so that a failure can be looked at again. */
function randomOf(seed: number) {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

test('after any mix of doubled events, releases and reservations the totals are the sums', async (t) => {
  const { db, url, ask: asks, publish, stored } = await startServices(t, databases, 2)
  const random = randomOf(20_261_121)
  const pick = <T>(list: readonly T[]): T => {
    const chosen = list[random(list.length)]
    if (chosen === undefined) throw new Error('an empty list')
    return chosen
  }
  const holders = ['k1', 'k2', 'k3']
  for (const owner of holders)
    await setBudget(db, { kind: 'key', owner, model: '' }, { max: dollar })
  await setBudget(db, { kind: 'key', owner: 'k1', model: 'smart' }, { max: 500n * dollar })
  await setBudget(db, { kind: 'team', owner: 't1', model: '' }, { max: 3_000n * dollar })

  const messages: unknown[] = []
  const questions: ReserveQuestion[] = []
  for (let i = 0; i < 300; i++) {
    const keyId = pick(holders)
    const teamId = pick([null, 't1', 't2'])
    const userId = pick([null, 'u1'])
    const requestId = `req-${i}`
    const accounts: AccountRef[] = [
      { kind: 'team', owner: teamId ?? 't1', model: '' },
      { kind: 'key', owner: keyId, model: pick(['', 'smart']) },
    ]
    questions.push(question(requestId, BigInt(random(3)) * dollar, { accounts }))
    const attempts = Array.from({ length: 1 + random(3) }, (_, attempt) =>
      usage(requestId, random(4), {
        attempt: attempt + 1,
        status: pick(['success', 'failure', 'cancelled', 'interrupted'] as const),
        group: pick(['smart', 'fast']),
        tags: pick([[], ['a'], ['a', 'b']]),
        caller: { keyId, teamId, userId, endUser: null },
      }),
    )
    messages.push(attempts)
    if (random(3) === 0) messages.push(attempts.toReversed())
    messages.push({ released: { requestId, within: random(2) * 60_000 } })
  }
  const replies = questions.map((asked) => asks(asked))
  for (let i = messages.length - 1; i > 0; i--) {
    const j = random(i + 1)
    const [a, b] = [messages[i], messages[j]]
    messages[i] = b
    messages[j] = a
  }
  await Promise.all([...replies, ...messages.map(publish)])
  await stored()
  const rebuilt = await rebuild(url, true)
  assert.deepEqual(rebuilt.differences, [])
  assert.ok(rebuilt.ledger_entries > 300)
  const { rows } = await sql<{ amount: string }>`
    select sum(total_amount) as amount from account where kind = 'key' and model = ''`.execute(db)
  assert.equal(BigInt(rows[0]?.amount ?? 0), (await books(db)).amount)
  await sweepReservations(db, new Date(Date.now() + 700_000))
  assert.deepEqual(await reservations(db), [])
  const held = await db
    .selectFrom('account')
    .where('reserved_amount', '<>', '0')
    .selectAll()
    .execute()
  assert.deepEqual(held, [])
})

test('a rebuild finds what was tampered with, says it, and mends it', async (t) => {
  const { db, url, pool } = await freshDatabase(t, databases)
  await recordUsage(db, [usage('a', 2, { tags: ['x'] }), usage('b', 3, { status: 'failure' })])
  await setBudget(db, { ...key, owner: 'idle' }, { max: dollar })
  await reserve(pool, [question('c', dollar)])
  await sql`update account set period_amount = 1, total_tokens = 9 where kind = 'key' and owner = 'k'
    `.execute(db)
  await sql`update account set reserved_amount = 7 where kind = 'key' and owner = 'idle'`.execute(
    db,
  )
  await sql`delete from daily_spend`.execute(db)
  await sql`insert into daily_tag_spend values ('2026-01-01', 'y', 'k', 1, 1, 1, 1, 0)`.execute(db)

  const looked = await rebuild(url, true)
  assert.equal(looked.differing, 4)
  const found = Object.fromEntries(looked.differences.map((one) => [one.total, one]))
  assert.deepEqual(found.account, {
    total: 'account',
    row: 'key/k/',
    fields: {
      period_amount: { was: '0.000000000001', ledger: '5' },
      total_tokens: { was: '9', ledger: '5' },
    },
  })
  assert.deepEqual(found.reserved?.fields, {
    reserved_amount: { was: '0.000000000007', ledger: '0' },
  })
  assert.equal(found.daily_spend?.fields.failures?.ledger, '1')
  assert.equal(found.daily_tag_spend?.fields.amount?.ledger, '0')

  const commandLine = startPart(['rebuild', '--dry-run'], { DATABASE_URL: url })
  assert.deepEqual(await commandLine.exited, { code: 1, signal: null })

  const mended = await rebuild(url, false)
  assert.deepEqual(mended.differences, looked.differences)
  assert.equal((await rebuild(url, false)).differing, 0)
  assert.equal((await accountOf(db, key)).spent, 5n * dollar)
  assert.equal((await accountOf(db, key)).reserved, dollar)
})

test('a correction is an entry of its own and moves the totals of its request', async (t) => {
  const { db, url } = await freshDatabase(t, databases)
  await recordUsage(db, [usage('a', 5, { tags: ['x'] }), usage('b', 1)])
  const correction = { requestId: 'a', attempt: 1, amount: -2n * dollar, reason: 'billed too much' }
  const correct = (changes: Partial<typeof correction> = {}) =>
    db.transaction().execute((trx) => correctSpend(trx, { ...correction, ...changes }))
  assert.partialDeepStrictEqual(await correct(), { before: 5n * dollar, spend: 3n * dollar })
  const entries = await db
    .selectFrom('ledger')
    .select(['kind', 'amount', 'reason', 'key_id'])
    .where('request_id', '=', 'a')
    .orderBy('id')
    .execute()
  assert.deepEqual(entries, [
    { kind: 'usage', amount: String(5n * dollar), reason: null, key_id: 'k' },
    { kind: 'correction', amount: String(-2n * dollar), reason: 'billed too much', key_id: 'k' },
  ])
  assert.partialDeepStrictEqual(await accountOf(db, key), { spent: 4n * dollar, tokens: 6 })
  const { amount, log_amount } = await books(db)
  assert.deepEqual([amount, log_amount], [4n * dollar, 4n * dollar])
  await assert.rejects(correct({ amount: -4n * dollar }), { code: 'invalid_request' })
  await assert.rejects(correct({ attempt: 2 }), { code: 'not_found' })
  assert.equal((await rebuild(url, true)).differing, 0)
})

test('the master corrects and rebuilds over the bus, and nobody else', async (t) => {
  const { bus, db, publish, stored } = await startServices(t, databases, 1)
  await publish([usage('a', 5)])
  await stored()
  const master = { role: 'master', keyId: null, userId: null, teamId: null } as const
  const administer = (operation: AdminOperationName, params: unknown, actor: Actor = master) => {
    const question = { operation, actor, correlationId: 'c', params, newKey: null }
    return ask(bus, channels.admin, channels.admin.subject(), question, 20_000)
  }
  const params = { request_id: 'a', amount: -0.75, reason: 'goodwill' }
  const holder: Actor = { ...master, role: 'key', keyId: 'k' }
  const denied = { code: 'permission_denied' }
  await assert.rejects(administer('spend.correct', params, holder), denied)
  await assert.rejects(administer('spend.rebuild', {}, holder), denied)
  assert.partialDeepStrictEqual(await administer('spend.correct', params), {
    attempt: 1,
    correction_usd: '-0.75',
    spend: 4.25,
    reason: 'goodwill',
  })
  assert.partialDeepStrictEqual(await administer('spend.rebuild', {}), {
    dry_run: false,
    ledger_entries: 2,
    ledger_usd: '4.25',
    differing: 0,
  })
  const audited = await db.selectFrom('audit_log').select(['operation', 'object_id']).execute()
  assert.deepEqual(audited, [{ operation: 'spend.correct', object_id: 'a/1' }])
})

test('a ledger from before there were totals gets them when it is migrated', async (t) => {
  const { db, url, close } = await databases.create({ migrated: false })
  t.after(close)
  const first = Object.entries(migrations).slice(0, 1)
  const provider = { getMigrations: async () => Object.fromEntries(first) }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  assert.equal(error, undefined)
  const columns = sql.raw(`request_id, attempt, amount, price_source, prompt_tokens,
    completion_tokens, usage_estimated, key_hash, user_id, team_id, tags, model_group, deployment_id,
    provider, model`)
  const row = (name: string, status: string) => sql`
    with given as (
      select ${name} as request_id, 1 as attempt, 5 as amount, 'configured' as price_source,
        10 as prompt_tokens, 2 as completion_tokens, false as usage_estimated, 'k' as key_hash,
        'u' as user_id, 't' as team_id, array['x'] as tags, 'smart' as model_group,
        'd' as deployment_id, 'openai' as provider, 'm' as model
    ), logged as (
      insert into request_log (received_at, correlation_id, status, operation, stream,
        requested_model, worker_id, started_at, ended_at, cached_prompt_tokens, cache_write_tokens,
        audio_prompt_tokens, reasoning_tokens, audio_completion_tokens, ${columns})
      select now(), 'c', ${status}, 'chat', true, 'smart', 'w', now(), now(), 0, 0, 0, 0, 0,
        ${columns} from given
    )
    insert into ledger (kind, occurred_at, unit_prices, ${columns})
    select 'usage', now(), '{}', ${columns} from given`
  await row('a', 'success').execute(db)
  await row('b', 'failure').execute(db)

  await migrate(url)
  const { differing, ledger_entries } = await rebuild(url, true)
  assert.deepEqual({ differing, ledger_entries }, { differing: 0, ledger_entries: 2 })
  const members = { kind: 'member', owner: 't/u', model: '' } as const
  for (const account of [key, team, members]) {
    assert.partialDeepStrictEqual(await accountOf(db, account), {
      spent: 10n,
      total: 10n,
      tokens: 24,
    })
  }
  const days = await db.selectFrom('daily_spend').select(['requests', 'failures']).execute()
  assert.deepEqual(days, [{ requests: '2', failures: '1' }])
  await assert.rejects(sql`update ledger set status = 'success'`.execute(db), { code: '23001' })
})

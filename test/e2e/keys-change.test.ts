// Keys that are changed, blocked, regenerated and deleted, and what gateways and the audit log hear.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { listen } from '@penstock/shared/bus/broadcast'
import { ask } from '@penstock/shared/bus/request-reply'
import { channels } from '@penstock/shared/contracts/channels'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { master, randomKey } from '../harness/admin.ts'
import { silent } from '../harness/servers.ts'
import { type KeysSetup, refused, startKeys } from './keys-setup.ts'

let keys: KeysSetup

before(async () => {
  keys = await startKeys()
})
after(() => keys.close())
beforeEach(() => keys.clear())

describe('a change', () => {
  test('leaves alone what it does not name; null takes a limit away', async () => {
    const asked = {
      max_budget: 1,
      budget_duration: '1mo',
      rpm_limit: 5,
      models: ['a'],
      model_rpm_limit: { a: 1 },
      model_tpm_limit: { a: 2 },
      metadata: { x: 1 },
    }
    const made = await keys.admin.ask('key.generate', asked)
    const key = made.token
    const changed = await keys.admin.ask('key.update', {
      key,
      max_budget: 2,
      model_rpm_limit: { b: 3 },
    })
    assert.partialDeepStrictEqual(changed, {
      ...asked,
      max_budget: 2,
      model_rpm_limit: { b: 3 },
      budget_reset_at: made.budget_reset_at,
    })
    const none = { max_budget: null, budget_duration: null, rpm_limit: null, models: null }
    assert.partialDeepStrictEqual(
      await keys.admin.ask('key.update', { key, ...none, metadata: null }),
      {
        ...none,
        models: [],
        metadata: {},
        budget_reset_at: null,
        model_tpm_limit: { a: 2 },
      },
    )
  })

  test('to a shared budget and back keeps to one of the two', async () => {
    const budget = { budget_id: 'b', max_budget: '3000000000000', model_max_budget: '{}' }
    await keys.db.insertInto('budget').values(budget).execute()
    const { token: key } = await keys.admin.ask('key.generate', { max_budget: 1, soft_budget: 0.5 })
    const shared = await keys.admin.ask('key.update', { key, budget_id: 'b' })
    assert.partialDeepStrictEqual(shared, { max_budget: 3, soft_budget: null, budget_id: 'b' })
    const own = keys.admin.ask('key.update', { key, max_budget: 4 })
    assert.deepEqual(await refused(own), ['invalid_request', 'max_budget'])
    const back = await keys.admin.ask('key.update', { key, budget_id: null, max_budget: 4 })
    assert.partialDeepStrictEqual(back, { max_budget: 4, budget_id: null })
  })

  test('of a period, or a budget for a model, counts what was spent before', async () => {
    const { db } = keys
    const { token: key } = await keys.admin.ask('key.generate')
    const caller = { keyId: key, userId: null, teamId: null, endUser: null }
    const usage = tokens(1_000_000, 0)
    const day = 24 * 3_600_000
    const spend = (requestId: string, receivedAt: number, group: string) =>
      usageEventOf({
        requestId,
        receivedAt,
        group,
        caller,
        usage,
        model: 'm',
        prices: {
          inputCostPerToken: 1e-6,
          outputCostPerToken: 0,
        },
      })
    await recordUsage(db, [
      spend('old', Date.now() - 40 * day, 'a'),
      spend('new', Date.now(), 'a'),
      spend('new-b', Date.now(), 'b'),
    ])
    const monthly = await keys.admin.ask('key.update', {
      key,
      budget_duration: '1mo',
      model_max_budget: { a: { max_budget: 9 }, b: { max_budget: 9, budget_duration: '30s' } },
    })
    assert.partialDeepStrictEqual(monthly, { spend: 2, total_spend: 3, tokens_spent: 2_000_000 })
    assert.deepEqual(monthly.model_spend, { a: 2, b: 0 })
    const forever = await keys.admin.ask('key.update', { key, budget_duration: null })
    assert.partialDeepStrictEqual(forever, { spend: 3, total_spend: 3 })
  })

  test('is told to gateways at once, under a version above all before', async () => {
    const versions: number[] = []
    const heard = Promise.withResolvers<void>()
    const before = await keys.version()
    const sub = listen(keys.bus, silent, channels.access, ({ version }) => {
      versions.push(version)
      if (version === before + 4) heard.resolve()
    })
    const { token: key } = await keys.admin.ask('key.generate')
    await keys.admin.ask('key.block', { key })
    await keys.admin.ask('key.unblock', { key })
    await keys.admin.ask('key.info', { key })
    await keys.admin.ask('key.list')
    await keys.admin.ask('key.delete', { keys: [key] })
    assert.equal(await keys.version(), before + 4)
    await heard.promise
    sub.unsubscribe()
    assert.ok(versions.every((version) => version <= before + 4))
    const { keyLookup } = channels
    const question = { secretHash: keys.admin.hashOf(key) }
    const { version } = await ask(keys.bus, keyLookup, keyLookup.subject(), question, 5_000)
    assert.equal(version, before + 4)
  })
})

test('a blocked key, team or user is named', async () => {
  await keys.team('t')
  const key = randomKey()
  const { token } = await keys.admin.ask('key.generate', { team_id: 't', user_id: 'u' }, { key })
  const blocked = async () => (await keys.admin.lookUp(key))?.blocked
  assert.equal(
    (await keys.admin.ask('key.block', { key: keys.admin.reference(key) })).blocked,
    true,
  )
  assert.equal(await blocked(), 'key')
  assert.equal((await keys.admin.ask('key.unblock', { key: token })).blocked, false)
  assert.equal(await blocked(), null)
  await keys.db.updateTable('app_user').set({ blocked: true }).execute()
  assert.equal(await blocked(), 'user')
  await keys.db.updateTable('team').set({ blocked: true }).execute()
  assert.equal(await blocked(), 'team')
})

test('a regenerated key has a new text, the same id, and spent what it had spent', async () => {
  const [old, fresh] = [randomKey(), randomKey()]
  const asked = { key_alias: 'a', max_budget: 2 }
  const { token } = await keys.admin.ask('key.generate', asked, { key: old })
  const spent = { period_amount: '500000000000', total_amount: '700000000000' }
  await keys.db.updateTable('account').set(spent).where('owner', '=', token).execute()
  const params = { key: keys.admin.reference(old), max_budget: 3, key_alias: 'a' }
  const made = await keys.admin.ask('key.regenerate', params, { key: fresh })
  assert.partialDeepStrictEqual(made, { token, max_budget: 3, spend: 0.5, total_spend: 0.7 })
  assert.equal(made.key_name, `sk-...${fresh.slice(-4)}`)
  assert.equal(await keys.admin.lookUp(old), null)
  const facts = await keys.admin.lookUp(fresh)
  assert.partialDeepStrictEqual(facts, { keyId: token, spent: '500000000000' })
  assert.equal(facts?.remaining, '2500000000000')
})

test('keys are deleted all or none, by key, id or alias; their accounts stay', async () => {
  const key = randomKey()
  const first = await keys.admin.ask('key.generate', {}, { key })
  const second = await keys.admin.ask('key.generate', { key_alias: 'second', max_budget: 1 })
  const half = keys.admin.ask('key.delete', { keys: [first.token, 'key_none'] })
  assert.deepEqual(await refused(half), ['not_found', 'keys'])
  const strange = keys.admin.ask('key.delete', { key_aliases: ['second', 'none'] })
  assert.deepEqual(await refused(strange), ['not_found', 'key_aliases'])
  assert.deepEqual(await refused(keys.admin.ask('key.delete')), ['invalid_request', 'keys'])
  const both = { keys: [keys.admin.reference(key), first.token], key_aliases: ['second'] }
  assert.deepEqual(await keys.admin.ask('key.delete', both), {
    deleted_keys: [first.token, second.token],
  })
  assert.equal(await keys.admin.lookUp(key), null)
  const accounts = await keys.db.selectFrom('account').select('max_amount').execute()
  assert.deepEqual(accounts, [{ max_amount: null }, { max_amount: null }])
})

test('the audit log says who changed what, and holds no key and no hash', async () => {
  const [first, second] = [randomKey(), randomKey()]
  const asked = { user_id: 'u', max_budget: 1 }
  const { token: key } = await keys.admin.ask('key.generate', asked, { key: first })
  await keys.admin.ask('key.update', { key, max_budget: 2, rpm_limit: 5 })
  await keys.admin.ask('key.regenerate', { key: keys.admin.reference(first) }, { key: second })
  await keys.admin.ask('key.delete', { keys: [keys.admin.reference(second)] })
  const { db } = keys
  const rows = await db.selectFrom('audit_log').selectAll().orderBy('id').execute()
  assert.deepEqual(
    rows.map((row) => [row.operation, row.object_kind, row.object_id]),
    [
      ['key.generate', 'user', 'u'],
      ['key.generate', 'key', key],
      ['key.update', 'key', key],
      ['key.regenerate', 'key', key],
      ['key.delete', 'key', key],
    ],
  )
  for (const row of rows) {
    assert.deepEqual(
      [row.actor_role, row.actor_key_id, row.correlation_id],
      [master.role, master.keyId, 'corr-1'],
    )
  }
  assert.deepEqual(
    [rows[2]?.before, rows[2]?.after],
    [
      { max_budget: 1, rpm_limit: null },
      { max_budget: 2, rpm_limit: 5 },
    ],
  )
  assert.equal(rows[1]?.before, null)
  assert.equal(rows[4]?.after, null)
  const text = JSON.stringify(rows)
  for (const one of [first, second]) {
    for (const secret of [one, keys.admin.hashOf(one), one.slice(-4)])
      assert.ok(!text.includes(secret))
  }
})

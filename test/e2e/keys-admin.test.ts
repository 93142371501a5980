// Keys as billing makes them: what is answered, what a gateway learns of them, what is refused.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { sql } from 'kysely'
import { createAdmin, randomKey } from '../harness/admin.ts'
import { type KeysSetup, refused, startKeys } from './keys-setup.ts'

let keys: KeysSetup

before(async () => {
  keys = await startKeys()
})
after(() => keys.close())
beforeEach(() => keys.clear())

describe('a generated key', () => {
  test('is answered with what LiteLLM answers, and known by its hash from then on', async () => {
    await keys.team('team-1', ['openai/*'])
    const key = randomKey()
    const asked = {
      key_alias: 'ci',
      models: ['openai/gpt-4o'],
      aliases: { fast: 'openai/gpt-4o' },
      max_budget: 0.1,
      soft_budget: 0.05,
      budget_duration: '1d',
      tpm_limit: 1_000,
      rpm_limit: 10,
      max_parallel_requests: 3,
      model_rpm_limit: { 'openai/gpt-4o': 5 },
      model_max_budget: { 'openai/gpt-4o': { budget_limit: 0.01, time_period: '1mo' } },
      user_id: 'user-1',
      team_id: 'team-1',
      metadata: { purpose: 'tests' },
      tags: ['nightly'],
      store_prompts: true,
      // What LiteLLM's clients send and mean nothing by.
      permissions: {},
      guardrails: [],
      send_invite_email: false,
    }
    const made = await keys.admin.ask('key.generate', asked, { key })
    const { permissions: _p, guardrails: _g, send_invite_email: _s, ...said } = asked
    assert.match(made.token, /^key_[0-9a-f]{24}$/)
    assert.partialDeepStrictEqual(made, {
      ...said,
      model_max_budget: { 'openai/gpt-4o': { max_budget: 0.01, budget_duration: '1mo', spend: 0 } },
      key_name: `sk-...${key.slice(-4)}`,
      expires: null,
      spend: 0,
      blocked: false,
      budget_timezone: 'Europe/Berlin',
      created_by: 'default_user_id',
    })
    const rates = (rpm: number | null, tpm: number | null, maxParallel: number | null) => ({
      rpm,
      tpm,
      maxParallel,
    })
    assert.deepEqual(await keys.admin.lookUp(key), {
      keyId: made.token,
      keyAlias: 'ci',
      userId: 'user-1',
      teamId: 'team-1',
      expiresAt: null,
      blocked: null,
      modelLists: [['openai/gpt-4o'], ['openai/*']],
      aliases: { fast: 'openai/gpt-4o' },
      tags: ['nightly'],
      storePrompts: true,
      limits: [
        {
          kind: 'key',
          owner: made.token,
          all: rates(10, 1_000, 3),
          models: { 'openai/gpt-4o': rates(5, null, null) },
        },
      ],
      accounts: [
        { kind: 'key', owner: made.token, model: '', hasMoney: true, hasTokens: false },
        {
          kind: 'key',
          owner: made.token,
          model: 'openai/gpt-4o',
          hasMoney: true,
          hasTokens: false,
        },
      ],
      spent: '0',
      remaining: '100000000000',
    })
    assert.equal(await keys.admin.lookUp(`${key}x`), null)
  })

  test('has the limits of its team, its user, its membership and of a shared budget', async () => {
    const { db } = keys
    await db
      .insertInto('budget')
      .values({ budget_id: 'b', max_budget: '5', rpm_limit: '7', model_max_budget: '{}' })
      .execute()
    await db
      .insertInto('team')
      .values({ team_id: 't', tpm_limit: '9', tags: ['team'], store_prompts: true })
      .execute()
    await keys.member('t', 'u', 'user')
    await db
      .updateTable('app_user')
      .set({ models: ['m'], max_parallel_requests: 2 })
      .execute()
    const account = { max_tokens: '100' }
    await db
      .insertInto('account')
      .values([
        { kind: 'member', owner: 't/u', ...account },
        { kind: 'team', owner: 't', model: 'm', ...account },
        { kind: 'team', owner: 'other', ...account },
      ])
      .execute()
    const key = randomKey()
    const asked = { budget_id: 'b', team_id: 't', user_id: 'u', tags: ['key'] }
    const made = await keys.admin.ask('key.generate', asked, { key })
    assert.partialDeepStrictEqual(made, { max_budget: 5e-12, rpm_limit: 7 })

    const facts = await keys.admin.lookUp(key)
    assert.partialDeepStrictEqual(facts, { modelLists: [['m']], tags: ['key', 'team'] })
    assert.equal(facts?.storePrompts, true)
    const none = { rpm: null, tpm: null, maxParallel: null }
    assert.deepEqual(
      facts?.limits.map(({ kind, owner, all }) => [kind, owner, all]),
      [
        ['key', made.token, { ...none, rpm: 7 }],
        ['team', 't', { ...none, tpm: 9 }],
        ['user', 'u', { ...none, maxParallel: 2 }],
      ],
    )
    assert.deepEqual(
      facts?.accounts.map(({ kind, model, hasMoney, hasTokens }) => [
        kind,
        model,
        hasMoney,
        hasTokens,
      ]),
      [
        ['key', '', true, false],
        ['member', '', false, true],
        ['team', 'm', false, true],
      ],
    )
  })

  test('expires after its duration, by the clock of the database', async () => {
    const key = randomKey()
    const { db } = keys
    const clock = async () =>
      (await sql<{ now: Date }>`select now()`.execute(db)).rows[0]?.now.getTime() ?? Number.NaN
    const earliest = await clock()
    const made = await keys.admin.ask('key.generate', { duration: '30d' }, { key })
    const latest = await clock()
    const days = 30 * 24 * 3_600_000
    const expires = Date.parse(made.expires ?? '')
    assert.ok(expires >= earliest + days && expires <= latest + days)
    assert.equal((await keys.admin.lookUp(key))?.expiresAt, expires)
    await keys.admin.ask('key.update', { key: made.token, duration: '-1' })
    assert.equal((await keys.admin.lookUp(key))?.expiresAt, null)
  })
})

describe('what is refused', () => {
  const keyText = randomKey()
  const cases: [string, Record<string, unknown>, [string, string | null]][] = [
    ['a misspelt limit', { max_bugdet: 1 }, ['invalid_request', 'max_bugdet']],
    ['a negative budget', { max_budget: -1 }, ['invalid_request', 'max_budget']],
    ['a duration of nothing', { budget_duration: '0d' }, ['invalid_request', 'budget_duration']],
    ['no time zone', { budget_timezone: 'Mars' }, ['invalid_request', 'budget_timezone']],
    ['a team that is not there', { team_id: 'none' }, ['not_found', 'team_id']],
    ['a budget that is not there', { budget_id: 'none' }, ['not_found', 'budget_id']],
    [
      'a budget beside limits',
      { budget_id: 'b', max_budget: 1 },
      ['invalid_request', 'max_budget'],
    ],
    ['an alias that is taken', { key_alias: 'taken' }, ['conflict', 'key_alias']],
    [
      'models that the team has not',
      { team_id: 't', models: ['b'] },
      ['invalid_request', 'models'],
    ],
    ['a type that restricts routes', { key_type: 'read_only' }, ['invalid_request', 'key_type']],
    ['what a table cannot hold', { metadata: { a: '\0' } }, ['invalid_request', null]],
  ]
  for (const [what, params, expected] of cases) {
    test(`is ${what}, and nothing of it stays`, async () => {
      await keys.team('t', ['a'])
      await keys.db
        .insertInto('budget')
        .values({ budget_id: 'b', model_max_budget: '{}' })
        .execute()
      await keys.admin.ask('key.generate', { key_alias: 'taken' }, { key: keyText })
      const version = await keys.version()
      const asked = keys.admin.ask('key.generate', { user_id: 'new-user', ...params })
      assert.deepEqual(await refused(asked), expected)
      assert.equal(await keys.version(), version)
      assert.equal((await keys.admin.ask('key.list')).total_count, 1)
      assert.equal((await keys.db.selectFrom('app_user').selectAll().execute()).length, 0)
    })
  }

  test('is a key that is taken, and one of a gateway with another secret', async () => {
    const key = randomKey()
    await keys.admin.ask('key.generate', {}, { key })
    assert.deepEqual(await refused(keys.admin.ask('key.generate', {}, { key })), [
      'conflict',
      'key',
    ])
    const stranger = createAdmin(keys.bus, 'another secret')
    const message = /PENSTOCK_SECRET differs from the one that the keys were made with/
    await assert.rejects(stranger.ask('key.generate'), message)
    await assert.rejects(stranger.lookUp(key), message)
    assert.equal(await keys.admin.lookUp(randomKey()), null)
  })

  test('all but one of twenty at once with the same alias', async () => {
    const asked = Array.from({ length: 20 }, () =>
      keys.admin.ask('key.generate', { key_alias: 'one' }),
    )
    const results = await Promise.allSettled(asked)
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const result of results) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'conflict')
    }
  })
})

// Users, budgets and the audit log over the bus, on a real NATS and a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AdminOperationName } from '@penstock/shared/contracts/admin'
import { sql } from 'kysely'
import { randomKey } from '../harness/admin.ts'
import { type AdminSetup, about, holder, type Params, startAdmin } from './admin-setup.ts'

let admin: AdminSetup

before(async () => {
  admin = await startAdmin()
})
after(() => admin.close())

test('a user comes with a key unless none is wanted, joins teams, and takes its keys along', async () => {
  const { as, asMaster, accountOf } = admin
  await asMaster('team.new', { team_id: 'club' })
  await asMaster('team.new', { team_id: 'gym' })
  const made = await asMaster('user.new', {
    user_id: 'uma',
    user_email: 'uma@example.com',
    teams: ['club', { team_id: 'gym', user_role: 'admin', max_budget_in_team: 3 }],
    max_budget: 10,
    key_alias: 'uma-key',
    duration: '30d',
    aliases: { best: 'gpt-4o' },
  })
  assert.deepEqual(made.teams, ['club', 'gym'])
  assert.equal(made.key_alias, 'uma-key')
  const { info } = await asMaster('key.info', { key: made.token ?? '' })
  assert.deepEqual([info.user_id, info.aliases, info.max_budget], ['uma', { best: 'gpt-4o' }, null])
  assert.equal(info.expires, made.expires)
  assert.equal((await accountOf('member', 'gym/uma'))?.max_amount, '3000000000000')

  const keyless = await asMaster('user.new', { user_id: 'kim', auto_create_key: false })
  assert.deepEqual([keyless.token, keyless.key_name, keyless.expires], [null, null, null])

  const taken = { user_id: 'eve', user_email: 'UMA@example.com' }
  await assert.rejects(asMaster('user.new', taken), about('conflict', 'user_email'))
  await assert.rejects(asMaster('user.new', { user_id: 'uma' }), about('conflict', 'user_id'))

  const uma = holder('uma', made.token ?? '')
  const own = await as(uma, 'user.info', {})
  assert.equal(own.user_id, 'uma')
  assert.deepEqual([own.keys_count, own.keys[0]?.token], [1, made.token])
  assert.deepEqual(
    own.teams.map((team) => team.team_id),
    ['club', 'gym'],
  )
  const denied = { code: 'permission_denied' }
  await assert.rejects(as(uma, 'user.info', { user_id: 'kim' }), denied)
  await assert.rejects(as(uma, 'user.update', { user_id: 'uma', max_budget: 99 }), denied)

  const { data } = await asMaster('user.update', {
    user_id: 'uma',
    max_budget: 20,
    max_tokens_budget: 1_000,
    user_role: 'internal_user_viewer',
  })
  assert.deepEqual([data.max_budget, data.max_tokens_budget], [20, 1_000])
  const found = await asMaster('user.list', { user_email: 'uma@', page_size: 1 })
  assert.deepEqual([found.total, found.users[0]?.user_id], [1, 'uma'])

  assert.deepEqual(await asMaster('user.delete', { user_ids: ['uma'] }), {
    deleted_users: ['uma'],
    deleted_keys: 1,
  })
  assert.equal((await asMaster('team.info', { team_id: 'gym' })).team_info.members_count, 0)
  assert.equal((await accountOf('member', 'gym/uma'))?.max_amount, null)
  await assert.rejects(asMaster('user.info', { user_id: 'uma' }), { code: 'not_found' })
})

test('a shared budget holds each that names it by itself, and its change reaches all of them', async () => {
  const { asMaster, accountOf, auditOf, spendAs } = admin
  await asMaster('budget.new', { budget_id: 'small', max_budget: 0.1, rpm_limit: 5 })
  const team = await asMaster('team.new', { team_id: 'frugal', budget_id: 'small' })
  const user = await asMaster('user.new', { user_id: 'scrooge', budget_id: 'small' })
  const key = await asMaster('key.generate', { budget_id: 'small' })
  for (const held of [team, user, key]) {
    assert.deepEqual([held.max_budget, held.rpm_limit, held.budget_id], [0.1, 5, 'small'])
  }
  const spent = await spendAs('frugal', null)

  const changed = await asMaster('budget.update', {
    budget_id: 'small',
    max_budget: 0.25,
    model_max_budget: { 'gpt-4o': 0.125 },
  })
  assert.deepEqual([changed.max_budget, changed.rpm_limit], [0.25, 5])
  assert.equal(changed.model_max_budget['gpt-4o']?.max_budget, 0.125)
  const owners = [
    ['team', 'frugal'],
    ['user', 'scrooge'],
    ['key', key.token],
  ] as const
  for (const [kind, owner] of owners) {
    assert.equal((await accountOf(kind, owner))?.max_amount, '250000000000')
    assert.equal((await accountOf(kind, owner, 'gpt-4o'))?.max_amount, '125000000000')
  }
  const { team_info: frugal } = await asMaster('team.info', { team_id: 'frugal' })
  assert.equal(frugal.spend, spent)
  assert.equal((await asMaster('user.info', { user_id: 'scrooge' })).user_info.spend, 0)

  await assert.rejects(asMaster('budget.delete', { id: 'small' }), { code: 'conflict' })
  const own = { team_id: 'frugal', max_budget: 3 }
  await assert.rejects(asMaster('team.update', own), about('invalid_request', 'max_budget'))
  await asMaster('team.update', { ...own, budget_id: null })
  assert.equal((await accountOf('team', 'frugal'))?.max_amount, '3000000000000')
  await asMaster('user.delete', { user_ids: ['scrooge'] })
  await asMaster('key.delete', { keys: [key.token] })
  await asMaster('budget.delete', { id: 'small' })
  assert.deepEqual(await asMaster('budget.info', { budgets: ['small'] }), [])
  assert.deepEqual(
    (await auditOf('budget', 'small')).map((entry) => entry.operation),
    ['budget.new', 'budget.update', 'budget.delete'],
  )
})

async function version(): Promise<number> {
  const state = admin.db.selectFrom('access_state').select('version')
  return Number((await state.executeTakeFirstOrThrow()).version)
}

test('every change counts the access version up, and what only reads does not', async () => {
  const { asMaster } = admin
  await asMaster('budget.new', { budget_id: 'counted' })
  const start = await version()
  await asMaster('team.new', { team_id: 'counted' })
  assert.equal(await version(), start + 1)
  await asMaster('team.member_add', { team_id: 'counted', member: { user_id: 'counter' } })
  assert.equal(await version(), start + 2)
  await asMaster('budget.update', { budget_id: 'counted', tpm_limit: 10 })
  assert.equal(await version(), start + 3)
  await asMaster('budget.info', { budgets: ['counted'] })
  await asMaster('team.info', { team_id: 'counted' })
  await asMaster('user.list', {})
  await asMaster('audit.list', {})
  await assert.rejects(asMaster('team.new', { team_id: 'counted' }), { code: 'conflict' })
  assert.equal(await version(), start + 3)
})

test('a bad request is refused with the name of the field', async () => {
  const refusal = async (operation: AdminOperationName, params: Params) => {
    const error = await admin.ask(operation, params).then(
      () => null,
      (thrown: { code: string; info: { param: string | null } }) => thrown,
    )
    return [error?.code, error?.info.param]
  }
  const cases: [AdminOperationName, Params, string, string][] = [
    ['team.new', { max_budgets: 1 }, 'invalid_request', 'max_budgets'],
    ['team.new', { team_id: 'a/b' }, 'invalid_request', 'team_id'],
    ['team.new', { max_budget: -1 }, 'invalid_request', 'max_budget'],
    ['team.new', { budget_timezone: 'Mars' }, 'invalid_request', 'budget_timezone'],
    ['team.new', { budget_id: 'none such' }, 'not_found', 'budget_id'],
    ['team.new', { members_with_roles: [{}] }, 'invalid_request', 'members_with_roles.0.user_id'],
    ['team.info', {}, 'invalid_request', 'team_id'],
    ['team.update', { team_id: 'none such' }, 'not_found', 'team_id'],
    ['team.delete', { team_ids: ['none such'] }, 'not_found', 'team_ids'],
    [
      'team.member_add',
      { team_id: 't', member: { role: 'king' } },
      'invalid_request',
      'member.0.role',
    ],
    ['team.member_add', { team_id: 'none', member: { user_id: 'u' } }, 'not_found', 'team_id'],
    ['team.member_delete', { team_id: 'none', user_id: 'u' }, 'not_found', 'team_id'],
    ['user.new', { user_role: 'proxy_admin' }, 'invalid_request', 'user_role'],
    ['user.new', { user_id: 'lost', teams: ['none such'] }, 'not_found', 'teams[0].team_id'],
    ['user.new', { user_id: 'lost', team_id: 'none such' }, 'not_found', 'team_id'],
    ['user.update', { user_id: 'none such' }, 'not_found', 'user_id'],
    ['user.delete', { user_ids: [] }, 'invalid_request', 'user_ids'],
    ['budget.update', { budget_id: 'none such' }, 'not_found', 'budget_id'],
    ['budget.info', { budgets: [] }, 'invalid_request', 'budgets'],
    ['audit.list', { cursor: 'x' }, 'invalid_request', 'cursor'],
    ['audit.list', { since: 'yesterday' }, 'invalid_request', 'since'],
  ]
  for (const [operation, params, code, param] of cases) {
    const what = `${operation} ${JSON.stringify(params)}`
    assert.deepEqual(await refusal(operation, params), [code, param], what)
  }
})

test('the audit log is paged without a gap, for the master only, and holds no key and no hash', async () => {
  const { as, asMaster, auditOf, db } = admin
  for (let i = 0; i < 5; i += 1) {
    await asMaster('budget.new', { budget_id: `paged-${i}`, max_budget: i })
  }
  const since = new Date(0).toISOString()
  const filter = { object_kind: 'budget', since, limit: 2 }
  const seen: string[] = []
  let cursor: string | undefined
  for (let pages = 0; pages < 100; pages += 1) {
    const page = await asMaster('audit.list', { ...filter, ...(cursor && { cursor }) })
    seen.push(...page.data.map((entry) => entry.id))
    if (page.next_cursor === null) break
    cursor = page.next_cursor
  }
  const { rows } = await sql<{ id: string }>`
    select id from audit_log where object_kind = 'budget' order by id desc`.execute(db)
  assert.deepEqual(
    seen,
    rows.map((row) => row.id),
  )
  const [entry] = await auditOf('budget', 'paged-3')
  assert.partialDeepStrictEqual(entry, {
    actor_role: 'master',
    correlation_id: 'corr-1',
    operation: 'budget.new',
    before: null,
    after: { max_budget: 3 },
  })
  assert.deepEqual((await asMaster('audit.list', { since: '2999-01-01T00:00:00Z' })).data, [])
  await assert.rejects(as(holder('ann'), 'audit.list', {}), { code: 'permission_denied' })

  const text = randomKey()
  const made = await admin.ask('user.new', { user_id: 'shy' }, { key: text })
  await asMaster('user.delete', { user_ids: ['shy'] })
  assert.equal((await auditOf('key', made.token ?? '')).length, 2)
  const { rows: all } = await sql`select * from audit_log`.execute(db)
  const trail = JSON.stringify(all)
  for (const secret of [text, made.key_name ?? '', admin.hashOf(text)]) {
    assert.ok(!trail.includes(secret))
  }
})

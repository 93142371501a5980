// Teams and their members over the bus, on a real NATS and a real PostgreSQL.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { randomKey } from '../harness/admin.ts'
import { type AdminSetup, about, holder, type Params, startAdmin } from './admin-setup.ts'

let admin: AdminSetup

before(async () => {
  admin = await startAdmin()
})
after(() => admin.close())

test('a team lives: made with its members and limits, shown, changed, blocked, deleted', async () => {
  const { asMaster, accountOf, auditOf, db, spendAs } = admin
  const made = await asMaster('team.new', {
    team_id: 'life',
    team_alias: 'Life',
    models: ['gpt-*'],
    metadata: { cost_center: '12' },
    model_aliases: { fast: 'gpt-4o-mini' },
    rpm_limit: 60,
    max_budget: 2.5,
    budget_duration: '1d',
    budget_timezone: 'Europe/Berlin',
    model_max_budget: { 'gpt-4o': { budget_limit: 1, time_period: '1mo' } },
    model_tpm_limit: { 'gpt-4o': 9_000 },
    members_with_roles: [
      { role: 'admin', user_id: 'ann' },
      { role: 'user', user_email: 'Bob@example.com' },
    ],
  })
  assert.equal(made.members_count, 2)
  const ann = made.members_with_roles.find((member) => member.user_id === 'ann')
  assert.deepEqual(ann, { user_id: 'ann', user_email: null, role: 'admin' })
  const bob = made.members_with_roles.find((member) => member.user_email === 'Bob@example.com')
  assert.equal(bob?.role, 'user')

  const spent = await spendAs('life', 'ann')
  assert.ok(spent > 0)
  const text = randomKey()
  const key = await admin.ask('key.generate', { team_id: 'life' }, { key: text })
  const shown = await asMaster('team.info', { team_id: 'life' })
  assert.equal(shown.keys_count, 1)
  assert.equal(shown.keys[0]?.token, key.token)
  assert.equal(shown.team_info.spend, spent)
  assert.equal(shown.team_info.max_budget, 2.5)
  assert.equal(shown.team_info.budget_timezone, 'Europe/Berlin')
  assert.deepEqual(shown.team_info.model_aliases, { fast: 'gpt-4o-mini' })
  assert.equal(shown.team_info.model_max_budget['gpt-4o']?.max_budget, 1)
  assert.equal(shown.team_info.model_max_budget['gpt-4o']?.budget_duration, '1mo')
  assert.deepEqual(shown.team_info.model_tpm_limit, { 'gpt-4o': 9_000 })
  const annStands = shown.team_memberships.find((member) => member.user_id === 'ann')
  assert.equal(annStands?.spend, spent)
  assert.equal(annStands?.litellm_budget_table, null)

  const { data } = await asMaster('team.update', {
    team_id: 'life',
    team_alias: 'Living',
    max_budget: null,
    rpm_limit: null,
  })
  assert.equal(data.team_alias, 'Living')
  assert.deepEqual([data.max_budget, data.rpm_limit, data.spend], [null, null, spent])
  assert.deepEqual(data.metadata, { cost_center: '12' })
  assert.equal(data.budget_duration, '1d')

  assert.equal((await asMaster('team.block', { team_id: 'life' })).blocked, true)
  const facts = await admin.lookUp(text)
  assert.partialDeepStrictEqual(facts, {
    blocked: 'team',
    modelLists: [['gpt-*']],
    aliases: { fast: 'gpt-4o-mini' },
    accounts: [{ kind: 'team', owner: 'life', model: 'gpt-4o', hasMoney: true }],
  })
  assert.equal((await asMaster('team.unblock', { team_id: 'life' })).blocked, false)

  assert.deepEqual(await asMaster('team.delete', { team_ids: ['life'] }), {
    deleted_teams: ['life'],
    deleted_keys: 1,
  })
  await assert.rejects(asMaster('team.info', { team_id: 'life' }), { code: 'not_found' })
  await assert.rejects(asMaster('key.info', { key: key.token }), { code: 'not_found' })
  const left = await db.selectFrom('ledger').select('id').where('team_id', '=', 'life').execute()
  assert.equal(left.length, 1)
  const account = await accountOf('team', 'life', 'gpt-4o')
  assert.equal(account?.max_amount, null)

  const trail = (await auditOf('team', 'life')).map(({ operation, before, after }) => [
    operation,
    before === null ? null : Object.keys(before).toSorted(),
    after === null ? null : typeof after,
  ])
  assert.deepEqual(trail.slice(1), [
    ['team.update', ['max_budget', 'rpm_limit', 'team_alias'], 'object'],
    ['team.block', ['blocked'], 'object'],
    ['team.unblock', ['blocked'], 'object'],
    ['team.delete', trail[4]?.[1], null],
  ])
  assert.equal((await auditOf('key', key.token)).at(-1)?.operation, 'team.delete')
})

test('a team admin manages its members, each with a budget; a plain member does not', async () => {
  const { as, asMaster, accountOf, auditOf, db } = admin
  await asMaster('team.new', {
    team_id: 'crew',
    members_with_roles: [{ role: 'admin', user_id: 'cap' }, { user_id: 'mate' }],
  })
  const cap = holder('cap')
  const mate = holder('mate')

  const added = await as(cap, 'team.member_add', {
    team_id: 'crew',
    member: { role: 'user', user_id: 'hand' },
    max_budget_in_team: 5,
    budget_duration: '1w',
  })
  assert.equal(added.members_count, 3)
  assert.equal(added.updated_team_memberships[0]?.litellm_budget_table?.max_budget, 5)
  const account = await accountOf('member', 'crew/hand')
  assert.deepEqual([account?.max_amount, account?.period], ['5000000000000', '1w'])

  const changed = await as(cap, 'team.member_update', {
    team_id: 'crew',
    user_id: 'hand',
    role: 'admin',
    max_budget_in_team: 7,
  })
  assert.equal(changed.role, 'admin')
  assert.equal(changed.litellm_budget_table?.max_budget, 7)
  assert.equal(changed.litellm_budget_table?.budget_duration, '1w')

  const again = { team_id: 'crew', member: [{ user_id: 'new' }, { user_id: 'hand' }] }
  await assert.rejects(as(cap, 'team.member_add', again), about('conflict', 'member[1].user_id'))
  const unknown = await db
    .selectFrom('app_user')
    .select('user_id')
    .where('user_id', '=', 'new')
    .execute()
  assert.deepEqual(unknown, [], 'all or none')

  const key = await as(cap, 'key.generate', { team_id: 'crew', user_id: 'hand' })
  const elsewhere = await asMaster('key.generate', { user_id: 'hand' })
  const left = await as(cap, 'team.member_delete', { team_id: 'crew', user_id: 'hand' })
  assert.equal(left.members_count, 2)
  await assert.rejects(asMaster('key.info', { key: key.token }), { code: 'not_found' })
  assert.equal((await asMaster('key.info', { key: elsewhere.token })).info.user_id, 'hand')
  assert.equal((await accountOf('member', 'crew/hand'))?.max_amount, null)
  assert.deepEqual(
    (await auditOf('member', 'crew/hand')).map((entry) => entry.operation),
    ['team.member_add', 'team.member_update', 'team.member_delete'],
  )

  const denied = { code: 'permission_denied' }
  const boarding = { team_id: 'crew', member: { user_id: 'rat' } }
  await assert.rejects(as(mate, 'team.member_add', boarding), denied)
  await assert.rejects(as(cap, 'team.update', { team_id: 'crew', max_budget: 1e6 }), denied)
  await assert.rejects(as(cap, 'team.unblock', { team_id: 'crew' }), denied)
  await assert.rejects(as(cap, 'team.delete', { team_ids: ['crew'] }), denied)
  await assert.rejects(as(holder('rat'), 'team.info', { team_id: 'crew' }), denied)
  await assert.rejects(as(holder('rat'), 'team.info', { team_id: 'no such team' }), denied)
})

test('a plain member sees its team without the others in it, and lists its own teams only', async () => {
  const { as, asMaster } = admin
  await asMaster('team.new', { team_id: 'seen', members_with_roles: [{ user_id: 'me' }] })
  await asMaster('team.member_add', {
    team_id: 'seen',
    member: [
      { role: 'admin', user_id: 'boss' },
      { role: 'user', user_id: 'other' },
    ],
  })
  await asMaster('team.new', { team_id: 'unseen', organization_id: 'org' })
  const mine = await asMaster('key.generate', { team_id: 'seen', user_id: 'me' })
  await asMaster('key.generate', { team_id: 'seen', user_id: 'other' })

  const ids = (members: { user_id: string }[]) => members.map((member) => member.user_id)
  const me = holder('me', mine.token)
  const shown = await as(me, 'team.info', { team_id: 'seen' })
  assert.deepEqual(ids(shown.team_info.members_with_roles), ['me'])
  assert.deepEqual(ids(shown.team_memberships), ['me'])
  assert.deepEqual([shown.keys_count, shown.keys[0]?.token], [1, mine.token])
  const boss = await as(holder('boss'), 'team.info', { team_id: 'seen', key_limit: 1 })
  assert.deepEqual(ids(boss.team_memberships), ['boss', 'me', 'other'])
  assert.deepEqual([boss.keys_count, boss.keys.length], [2, 1])

  const listed = await as(me, 'team.list', {})
  assert.deepEqual(
    listed.map((team) => [team.team_id, ids(team.members_with_roles)]),
    [['seen', ['me']]],
  )
  assert.deepEqual(await as(me, 'team.list', { user_id: 'other' }), [])
  assert.equal((await as(holder('boss'), 'team.list', { user_id: 'other' })).length, 1)
  const teamsOf = async (params: Params) =>
    (await asMaster('team.list', params)).map((team) => team.team_id)
  assert.deepEqual(await teamsOf({ user_id: 'other' }), ['seen'])
  assert.deepEqual(await teamsOf({ organization_id: 'org' }), ['unseen'])
  const whole = await teamsOf({})
  const pages = [await teamsOf({ page: 1, page_size: 1 }), await teamsOf({ page: 2, page_size: 1 })]
  assert.deepEqual(pages.flat(), whole.slice(0, 2))
})

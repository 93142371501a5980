// Who sees which keys, and who may change them.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { holderOf, type KeysSetup, refused, startKeys } from './keys-setup.ts'

let keys: KeysSetup

before(async () => {
  keys = await startKeys()
})
after(() => keys.close())
beforeEach(() => keys.clear())

describe('the holder of a key', () => {
  test('sees its own keys, and neither others nor whether there are any', async () => {
    const own = await keys.admin.ask('key.generate', { user_id: 'u' })
    const twin = await keys.admin.ask('key.generate', { user_id: 'u' })
    const other = await keys.admin.ask('key.generate', { user_id: 'v' })
    const as = holderOf(own.token, 'u')
    assert.equal((await keys.admin.ask('key.info', {}, { as })).key, own.token)
    assert.equal((await keys.admin.ask('key.info', { key: twin.token }, { as })).key, twin.token)
    for (const key of [other.token, 'key_none', 'master']) {
      const asked = keys.admin.ask('key.info', { key }, { as })
      assert.deepEqual(await refused(asked), ['permission_denied', null])
    }
    const listed = await keys.admin.ask('key.list', {}, { as })
    assert.deepEqual(listed.keys.toSorted(), [own.token, twin.token].toSorted())
    assert.equal((await keys.admin.ask('key.list', { user_id: 'v' }, { as })).total_count, 0)
    const alone = holderOf(other.token)
    assert.deepEqual((await keys.admin.ask('key.list', {}, { as: alone })).keys, [other.token])
  })

  test('changes nothing, not even its own key', async () => {
    const { token: key } = await keys.admin.ask('key.generate', { user_id: 'u' })
    const as = holderOf(key, 'u')
    const denied = ['permission_denied', null]
    for (const operation of ['key.update', 'key.regenerate', 'key.block', 'key.unblock'] as const) {
      assert.deepEqual(await refused(keys.admin.ask(operation, { key }, { as })), denied, operation)
    }
    assert.deepEqual(await refused(keys.admin.ask('key.delete', { keys: [key] }, { as })), denied)
    assert.deepEqual(await refused(keys.admin.ask('key.generate', {}, { as })), denied)
    assert.deepEqual(
      await refused(keys.admin.ask('key.generate', { user_id: 'u' }, { as })),
      denied,
    )
  })

  test('has no say in other teams of its user, where its key belongs to a team', async () => {
    for (const team of ['t', 'u']) {
      await keys.team(team)
      await keys.member(team, 'boss', 'admin')
    }
    const ofT = await keys.admin.ask('key.generate', { team_id: 't' })
    const ofU = await keys.admin.ask('key.generate', { team_id: 'u' })
    const of = (teamId: string | null) => ({ as: holderOf('key_boss', 'boss', teamId) })
    const seen = async (teamId: string | null) =>
      (await keys.admin.ask('key.list', {}, of(teamId))).keys.toSorted()
    assert.deepEqual(await seen('t'), [ofT.token])
    assert.deepEqual(await seen(null), [ofT.token, ofU.token].toSorted())
    const other = keys.admin.ask('key.regenerate', { key: ofU.token }, of('t'))
    assert.deepEqual(await refused(other), ['permission_denied', null])
    await keys.admin.ask('key.regenerate', { key: ofU.token }, of(null))
  })

  test('sees nothing that its user has outside the team that its key belongs to', async () => {
    for (const team of ['mine', 'theirs']) await keys.team(team)
    await keys.member('mine', 'boss', 'admin')
    await keys.member('theirs', 'victim', 'admin')
    const alone = await keys.admin.ask('key.generate', { user_id: 'victim' })
    const inTheirs = await keys.admin.ask('key.generate', { team_id: 'theirs', user_id: 'victim' })
    // Whoever administers a team may add anybody to it, and make keys in its name there.
    const boss = { as: holderOf('key_boss', 'boss', 'mine') }
    const member = [{ role: 'user' as const, user_id: 'victim' }]
    await keys.admin.ask('team.member_add', { team_id: 'mine', member }, boss)
    const made = await keys.admin.ask('key.generate', { team_id: 'mine', user_id: 'victim' }, boss)
    const victim = { as: holderOf(made.token, 'victim', 'mine') }
    for (const { token: key } of [alone, inTheirs]) {
      const asked = keys.admin.ask('key.info', { key }, victim)
      assert.deepEqual(await refused(asked), ['permission_denied', null])
    }
    assert.deepEqual((await keys.admin.ask('key.list', {}, victim)).keys, [made.token])
    const info = await keys.admin.ask('user.info', {}, victim)
    const ids = [info.keys.map(({ token }) => token), info.teams.map(({ team_id }) => team_id)]
    assert.deepEqual(ids, [[made.token], ['mine']])
    assert.deepEqual(info.user_info.teams, ['mine'])
    const teams = await keys.admin.ask('team.list', {}, victim)
    assert.deepEqual(
      teams.map(({ team_id }) => team_id),
      ['mine'],
    )
    // Its own key, of no team, sees all of it.
    const self = { as: holderOf(alone.token, 'victim') }
    assert.equal((await keys.admin.ask('key.list', {}, self)).total_count, 3)
    const whole = await keys.admin.ask('user.info', {}, self)
    assert.deepEqual([whole.keys_count, whole.user_info.teams], [3, ['mine', 'theirs']])
  })

  test('manages the keys of its team where it is the admin, within what the team may', async () => {
    await keys.team('t', ['a', 'b'])
    await keys.member('t', 'boss', 'admin')
    await keys.team('other')
    await keys.member('t', 'worker', 'user')
    await keys.member('other', 'boss', 'user')
    const boss = await keys.admin.ask('key.generate', { team_id: 't', user_id: 'boss' })
    const elsewhere = await keys.admin.ask('key.generate', { team_id: 'other' })
    const as = holderOf(boss.token, 'boss', 't')
    const forWorker = { team_id: 't', user_id: 'worker', models: ['a'] }
    const { token: key } = await keys.admin.ask('key.generate', forWorker, { as })
    assert.equal((await keys.admin.ask('key.info', { key }, { as })).info.created_by, 'boss')
    assert.deepEqual((await keys.admin.ask('key.update', { key, models: ['b'] }, { as })).models, [
      'b',
    ])
    await keys.admin.ask('key.block', { key }, { as })
    assert.equal((await keys.admin.ask('key.list', {}, { as })).total_count, 2)

    const worker = holderOf(key, 'worker', 't')
    const denied: [string, string | null] = ['permission_denied', null]
    const cases: [() => Promise<unknown>, [string, string | null]][] = [
      [
        () => keys.admin.ask('key.update', { key, models: ['c'] }, { as }),
        ['invalid_request', 'models'],
      ],
      [() => keys.admin.ask('key.update', { key, team_id: 'other' }, { as }), denied],
      [() => keys.admin.ask('key.update', { key, team_id: null }, { as }), denied],
      [
        () => keys.admin.ask('key.update', { key, user_id: 'v' }, { as }),
        ['invalid_request', 'user_id'],
      ],
      [() => keys.admin.ask('key.generate', { team_id: 'other' }, { as }), denied],
      [() => keys.admin.ask('key.generate', { team_id: 'none' }, { as }), denied],
      [() => keys.admin.ask('key.block', { key: elsewhere.token }, { as }), denied],
      [
        () => keys.admin.ask('key.generate', { team_id: 't', user_id: 'v' }, { as }),
        ['invalid_request', 'user_id'],
      ],
      [() => keys.admin.ask('key.block', { key: boss.token }, { as: worker }), denied],
    ]
    for (const [asked, expected] of cases) assert.deepEqual(await refused(asked()), expected)
    assert.deepEqual(await keys.admin.ask('key.delete', { keys: [key] }, { as }), {
      deleted_keys: [key],
    })
  })
})

test('a list has pages and filters, and ids unless whole objects are wanted', async () => {
  await keys.team('t')
  for (let i = 0; i < 5; i += 1) {
    await keys.admin.ask('key.generate', { key_alias: `k${i}`, ...(i < 2 ? { team_id: 't' } : {}) })
  }
  const pages = [1, 2, 3].map((page) =>
    keys.admin.ask('key.list', { page: String(page), size: '2' }),
  )
  const found = await Promise.all(pages)
  assert.deepEqual(
    found.map(({ keys: ids, total_count, current_page, total_pages }) => [
      ids.length,
      total_count,
      current_page,
      total_pages,
    ]),
    [
      [2, 5, 1, 3],
      [2, 5, 2, 3],
      [1, 5, 3, 3],
    ],
  )
  assert.equal(new Set(found.flatMap(({ keys: ids }) => ids)).size, 5)
  const ofTeam = await keys.admin.ask('key.list', { team_id: 't', return_full_object: 'true' })
  const aliases = ofTeam.keys.map((key) => (typeof key === 'string' ? key : key.key_alias))
  assert.deepEqual(aliases.toSorted(), ['k0', 'k1'])
  assert.equal((await keys.admin.ask('key.list', { key_alias: 'k3' })).total_count, 1)
  assert.equal((await keys.admin.ask('key.list', { key_hash: 'key_none' })).total_count, 0)
})

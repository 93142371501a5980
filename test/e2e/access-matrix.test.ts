// Who may do what: every route of the gateway asked by everybody about everybody's objects
// (access-routes-*.ts), what a key is good for once it is taken back, and that no key is ever seen
// anywhere but in the one answer that makes it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createSecret } from '@penstock/gateway/access/secret'
import { createApp } from '@penstock/gateway/app'
import type { Gateway } from '@penstock/gateway/gateway'
import { z } from 'zod'
import { errorOf } from '../harness/answers.ts'
import type { Client } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { testSecret } from '../harness/stack.ts'
import type { Role } from './access-routes.ts'
import { adminRoutes } from './access-routes-admin.ts'
import { servingRoutes } from './access-routes-serving.ts'
import {
  type MadeKey,
  masterKey,
  messages,
  type Stage,
  startStage,
  wrongKey,
} from './access-setup.ts'

const routes = { ...servingRoutes, ...adminRoutes }
const roles: readonly Role[] = ['holder', 'admin', 'master']
/** How soon a change is in effect at every gateway: a promise. */
const effectiveMs = 1_000

let stage: Stage

before(async () => {
  stage = await startStage()
})
after(() => stage.close())

/** All that the gateway's app answers; `route` is what the table calls it. */
function mountedRoutes() {
  const bare = { metrics: { handler: () => {} } } as unknown as Gateway
  return createApp(bare).router.stack.flatMap(({ route }) => {
    if (route === undefined) return []
    return route.stack.flatMap((layer) =>
      [route.path].flat().map((path) => {
        const method = layer.method.toUpperCase()
        return { route: `${method} ${path.replace(/^\/v1(?=\/)/, '')}`, method, path }
      }),
    )
  })
}

function withParams(path: string, params: Record<string, string> = {}): string {
  return path.replace(/[:*](\w+)/g, (_, name: string) => params[name] ?? 'x')
}

const mounted = mountedRoutes()

test('the table has a row for every route, and none for a route that there is not', () => {
  const names = new Set(mounted.map(({ route }) => route))
  assert.deepEqual([...names].sort(), Object.keys(routes).sort())
})

describe('a route', () => {
  for (const [name, { open = false, cases }] of Object.entries(routes)) {
    const places = mounted.filter(({ route }) => route === name)

    test(`${name}, without a key or with a wrong one`, async () => {
      const { none, wrong } = stage.clients
      for (const { method, path } of places) {
        for (const client of [none, wrong]) {
          const answer = await stage.send(client, method, withParams(path))
          assert.equal(answer.status, open ? 200 : 401, `${path}: ${answer.text}`)
        }
      }
    })

    test(`${name}, with a key`, async () => {
      const [place] = places
      assert.ok(place !== undefined)
      for (const { about, ask, expected } of cases) {
        const statuses: number[] = await Promise.all(
          roles.map(async (role): Promise<number> => {
            const { path, query, body, headers } = await ask(stage.objectsFor(role))
            const search = query === undefined ? '' : `?${new URLSearchParams(query)}`
            const url = withParams(place.path, path) + search
            const client = stage.clients[role]
            return (await stage.send(client, place.method, url, body, headers)).status
          }),
        )
        assert.deepEqual(statuses, expected, `${about}: holder, admin, master`)
      }
    })
  }
})

describe('a list', () => {
  const holder = z.looseObject({ user_id: z.string().nullable(), team_id: z.string().nullable() })
  const page = z.object({ keys: z.array(holder) })

  test('of keys holds those of the asker, or of the teams that it is an admin of', async () => {
    const listOf = async (role: Role) => {
      const path = '/key/list?return_full_object=true&size=100'
      return page.parse((await stage.send(stage.clients[role], 'GET', path)).json).keys
    }
    const own = await listOf('holder')
    assert.ok(own.length > 0 && own.every((key) => key.user_id === 'the-holder'))
    const ofTeam = await listOf('admin')
    assert.ok(ofTeam.every((key) => key.team_id !== 'theirs'))
    assert.ok(ofTeam.some((key) => key.user_id === 'the-mate'))
    assert.ok((await listOf('master')).some((key) => key.team_id === 'theirs'))
  })

  test('of models holds those that the key may use', async () => {
    const listed = z.object({ data: z.array(z.object({ id: z.string() })) })
    const listOf = async (role: Role) => {
      const { json } = await stage.send(stage.clients[role], 'GET', '/v1/models')
      return listed.parse(json).data.map(({ id }) => id)
    }
    assert.deepEqual(await listOf('holder'), ['allowed'])
    assert.deepEqual(await listOf('master'), ['allowed', 'forbidden'])
  })
})

describe('a change is in effect at every gateway within a second:', () => {
  /** The key, and a client of each gateway that has it and was served. */
  async function served(fields: object): Promise<MadeKey & { at: Client[] }> {
    const key = await stage.newKey(fields)
    const at = stage.stack.urls.map((url) => stage.clientOf(key.key, url))
    assert.equal(at.length, 2)
    for (const client of at) assert.equal((await ask(client)).status, 200)
    return { ...key, at }
  }
  const ask = (client: Client) =>
    stage.send(client, 'POST', '/v1/chat/completions', { model: 'allowed', messages })
  const become = (at: Client[], status: number) =>
    eventually(
      `${status} at both gateways`,
      async () => {
        const answers = await Promise.all(at.map(ask))
        return answers.every((answer) => answer.status === status) ? answers : null
      },
      effectiveMs,
    )

  test('a key that is blocked, unblocked and deleted', async () => {
    const { at, key, token } = await served({})
    await stage.make('/key/block', { key })
    const [refused] = await become(at, 401)
    assert.ok(refused !== undefined)
    assert.match(errorOf(refused).message, /key is blocked/)
    await stage.make('/key/unblock', { key: token })
    await become(at, 200)
    await stage.make('/key/delete', { keys: [key] })
    await become(at, 401)
  })

  test('a key that is made anew keeps its id, and the old text is worth nothing', async () => {
    const { at, key, token } = await served({ rpm_limit: 700 })
    const renewed = await stage.make(`/key/${key}/regenerate`, {})
    const { key: newText, ...kept } = renewed as MadeKey
    assert.notEqual(newText, key)
    assert.partialDeepStrictEqual(kept, { token, rpm_limit: 700 })
    await become(at, 401)
    await become(
      stage.stack.urls.map((url) => stage.clientOf(newText, url)),
      200,
    )
  })

  test('a key that may use less, by its own list or by its team', async () => {
    const team_id = 'shrinking'
    await stage.make('/team/new', { team_id })
    const { at, token } = await served({ team_id })
    await stage.make('/key/update', { key: token, models: ['forbidden'] })
    const [refused] = await become(at, 403)
    assert.ok(refused !== undefined)
    assert.equal(errorOf(refused).type, 'key_model_access_denied')
    assert.match(errorOf(refused).message, /`allowed`.*`forbidden`/)
    await stage.make('/key/update', { key: token, models: [] })
    await become(at, 200)
    await stage.make('/team/block', { team_id })
    const [blocked] = await become(at, 401)
    assert.ok(blocked !== undefined)
    assert.match(errorOf(blocked).message, /team `shrinking` is blocked/)
  })
})

test('a key ends when it expires', async () => {
  const { key } = await stage.newKey({ duration: '2s' })
  const client = stage.clientOf(key)
  assert.equal((await stage.send(client, 'GET', '/v1/models')).status, 200)
  const refused = await eventually('its end', async () => {
    const answer = await stage.send(client, 'GET', '/v1/models')
    return answer.status === 200 ? null : answer
  })
  assert.equal(refused.status, 401)
  assert.equal(errorOf(refused).type, 'expired_key')
})

// The last one: everything that was done above is in the record.
test('no key, no hash and no secret stands in an answer, a message, a log or a trace', async () => {
  const audit = await stage.send(stage.clients.master, 'GET', '/audit?limit=500')
  assert.equal(audit.status, 200)
  await stage.stop()
  const { answers, said, logged, traced } = stage.record()
  const { digestOf } = createSecret(testSecret)
  const texts = [...new Set(stage.keys), masterKey, wrongKey]
  const hashes = texts.map((text) => digestOf(text).toString('hex'))
  // What is looked through is all of it: ids are everywhere, and the hashes of keys, which billing knows
  // them by, in the questions that it is asked.
  for (const record of [answers, said, logged]) {
    assert.ok(record.join('\n').includes(stage.keyOf.holder.token))
  }
  assert.ok(stage.keys.length > 50 && hashes.some((hash) => said.join('\n').includes(hash)))
  const cases: [string, string[], string[]][] = [
    ['an answer', answers, [testSecret, ...texts, ...hashes]],
    ['a log line', logged, [testSecret, ...texts, ...hashes]],
    ['a span', traced, [testSecret, ...texts, ...hashes]],
    ['a message', said, [testSecret, ...texts]],
  ]
  for (const [what, record, forbidden] of cases) {
    const all = record.join('\n')
    assert.ok(all.length > 1_000)
    for (const secret of forbidden) assert.ok(!all.includes(secret), `${what} holds ${secret}`)
  }
})

// Limits of keys, teams and models through two gateways that count together in Redis, and what becomes
// of them when Redis is lost.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, describe, test } from 'node:test'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { errorOf } from '../harness/answers.ts'
import type { Answer } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys, type Keys, type TestKey } from '../harness/keys.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

let servers: Servers
let openai: FakeOpenAi
let stack: Stack
let keys: Keys

before(async () => {
  servers = await startServers({ redis: true })
  openai = await startFakeOpenAi()
})
after(async () => {
  await Promise.all([openai.close(), servers.close()])
})

async function start(settings: object): Promise<void> {
  const deployment = (model_name: string, timeout: number) => ({
    model_name,
    litellm_params: { model: 'openai/gpt-4o-mini', api_base: openai.url, timeout },
  })
  stack = await startStack({
    servers,
    count: { gateway: 2 },
    config: {
      model_list: [deployment('one', 60), deployment('two', 60), deployment('hasty', 1)],
      general_settings: { master_key: 'sk-master-0123456789' },
      litellm_settings: { num_retries: 0 },
      penstock_settings: settings,
    },
  })
  keys = await createKeys(stack.client, stack.urls)
}

async function stop(): Promise<void> {
  await keys.close()
  await stack.close()
}

/** A chat through one of the gateways. */
function ask(key: TestKey, gateway: number, model = 'one', signal?: AbortSignal): Promise<Answer> {
  const client = key.clients[gateway % key.clients.length]
  assert.ok(client !== undefined)
  const body = { model, messages: [{ role: 'user', content: 'hello there' }] }
  return client.post('/v1/chat/completions', body, signal === undefined ? {} : { signal })
}

const statusOf = ({ status }: Answer) => status
const count = (answers: readonly Answer[], status: number) =>
  answers.filter((one) => one.status === status).length

describe('through two gateways', () => {
  before(() => start({}))
  after(stop)
  afterEach(() => openai.setBehaviour('normal'))

  test('a key gets exactly its requests per minute, and is told how it stands', async () => {
    const key = await keys.make({ rpm_limit: 20 })
    const begun = openai.counts.started
    const first = await ask(key, 0)
    assert.equal(first.headers.get('x-ratelimit-limit-requests'), '20')
    assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '19')
    const answers = await Promise.all(Array.from({ length: 60 }, (_, index) => ask(key, index)))
    assert.deepEqual([count(answers, 200), count(answers, 429)], [19, 41])
    assert.equal(openai.counts.started - begun, 20)
    const refused = answers.find(({ status }) => status === 429)
    assert.ok(refused !== undefined)
    assert.equal(errorOf(refused).type, 'rate_limit_error')
    assert.match(errorOf(refused).message, new RegExp(`key \`${key.id}\`: 20 requests per minute`))
    assert.equal(refused.headers.get('x-ratelimit-remaining-requests'), '0')
    const wait = Number(refused.headers.get('retry-after'))
    assert.ok(wait > 30 && wait <= 61, String(wait))
  })

  test('a team and a model have limits of their own, and the keys of a team share its', async () => {
    const team_id = randomUUID()
    const team = await stack.client.post('/team/new', { team_id, rpm_limit: 6 })
    assert.equal(team.status, 200, team.text)
    const members = [
      await keys.make({ team_id, model_rpm_limit: { one: 2 } }),
      await keys.make({ team_id }),
    ] as const
    const byModel = [0, 1, 2].map((index) => ask(members[0], index, 'one'))
    assert.equal(count(await Promise.all(byModel), 200), 2)
    const byTeam = Array.from({ length: 10 }, (_, index) => ask(members[1], index, 'two'))
    assert.equal(count(await Promise.all(byTeam), 200), 4)
    const refused = await ask(members[0], 1, 'two')
    assert.equal(refused.status, 429)
    assert.match(errorOf(refused).message, /team `/)
  })

  test('the tokens of an answer count at both, once it is there', async () => {
    const key = await keys.make({ tpm_limit: 100 })
    openai.setBehaviour({ tokens: 120 })
    assert.equal((await ask(key, 0)).status, 200)
    await eventually('the other gateway knows', async () => (await ask(key, 1)).status === 429)
    const refused = await ask(key, 1)
    assert.match(errorOf(refused).message, /100 tokens per minute/)
  })

  test('what runs at once is bounded, whatever becomes of it', async () => {
    const gate = Promise.withResolvers<void>()
    const key = await keys.make({ max_parallel_requests: 3 })
    const begun = openai.counts.started
    openai.setBehaviour({ gate: gate.promise })
    const leaving = new AbortController()
    const left = ask(key, 0, 'one', leaving.signal).catch(() => null)
    const held = [ask(key, 1), ask(key, 0)]
    await openai.until(({ started }) => started === begun + 3)
    const refused = await ask(key, 1)
    assert.equal(refused.status, 429)
    assert.match(errorOf(refused).message, /3 requests at the same time/)
    // A client that goes away makes room for one, no more.
    leaving.abort()
    await left
    openai.setBehaviour({ fault: { kind: 'hang' } })
    const hanging = await eventually('room for one', async () => {
      const asked = ask(key, 1, 'hasty')
      const answer = await Promise.race([asked, openai.until((now) => now.started === begun + 4)])
      return answer === undefined ? { asked } : null
    })
    assert.equal((await ask(key, 0)).status, 429)
    gate.resolve()
    assert.deepEqual((await Promise.all(held)).map(statusOf), [200, 200])
    // So does an upstream that never answers.
    assert.equal((await hanging.asked).status, 504)
    openai.setBehaviour('normal')
    await eventually('room for three', async () => {
      const answers = await Promise.all([ask(key, 0), ask(key, 1), ask(key, 0)])
      return count(answers, 200) === 3
    })
  })
})

describe('without Redis', () => {
  const problems = () => stack.client.get('/health/readiness')
  const metrics = async () => (await stack.client.get('/metrics')).text

  after(() => servers.redis?.start())

  test('limits that cannot be counted are refused, where that is the policy', async () => {
    await start({ redis_lost: 'refuse' })
    const [limited, free] = [await keys.make({ rpm_limit: 2 }), await keys.make({})]
    assert.match(await metrics(), /^penstock_limiter_redis_up 1$/m)
    await servers.redis?.kill()
    const unready = await eventually('readiness names it', async () => {
      const answer = await problems()
      return answer.status === 503 ? answer : null
    })
    assert.match(unready.text, /"redis: /)
    const refused = await ask(limited, 0)
    assert.equal(refused.status, 503)
    assert.match(errorOf(refused).message, /Redis does not answer/)
    assert.equal((await ask(free, 0)).status, 200)
    await servers.redis?.start()
    await eventually('Redis is back', async () => (await problems()).status === 200)
    assert.equal((await ask(limited, 0)).status, 200)
    await stop()
  })

  test('or counted by each gateway alone, which the metrics show', async () => {
    await start({ redis_lost: 'local' })
    const key = await keys.make({ rpm_limit: 2 })
    await servers.redis?.kill()
    await eventually('it is seen', async () =>
      /^penstock_limiter_redis_up 0$/m.test(await metrics()),
    )
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask(key, 0)))
    assert.equal(count(answers, 200), 2)
    assert.equal((await problems()).status, 200)
    assert.match(await metrics(), /^penstock_limiter_decided_without_redis_total 5$/m)
    await stop()
  })
})

// Honest readiness: 503 with the failing dependency named whenever a request would fail, and green
// again as soon as one would not.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startGateway } from '@penstock/gateway/start-gateway'
import { ConfigError } from '@penstock/shared/config/config-error'
import { parseConfig } from '@penstock/shared/config/load'
import { completionOf, errorOf, requestIdOf } from '../harness/answers.ts'
import { eventually } from '../harness/eventually.ts'
import { type Servers, silent, startServers } from '../harness/servers.ts'
import { type ServiceName, type Stack, startStack, testSecret } from '../harness/stack.ts'

const model = { model_name: 'lorem', litellm_params: { model: 'sim/lorem' } }

let servers: Servers
let stack: Stack

before(async () => {
  servers = await startServers()
  const master_key = 'sk-1234'
  stack = await startStack({
    servers,
    config: {
      model_list: [model, { model_name: 'odd', litellm_params: { model: 'no-such-provider/x' } }],
      general_settings: { master_key },
    },
  })
})
after(async () => {
  await stack.close()
  await servers.close()
})

const withoutKey = { headers: { authorization: '' } }

async function isReady(): Promise<boolean> {
  return (await stack.client.get('/health/readiness')).status === 200
}

/** Waits for a 503 whose problems are as wanted; an outage may show in more than one of them. */
function unready(wanted: RegExp) {
  return eventually(`a 503 with ${wanted}`, async () => {
    const { status, json } = await stack.client.get('/health/readiness', withoutKey)
    const { problems } = json as { problems: string[] }
    return status === 503 && problems.some((problem) => wanted.test(problem)) ? json : null
  })
}

async function servesAgain(): Promise<void> {
  await eventually('readiness', isReady)
  const messages = [{ role: 'user', content: 'hello there' }]
  completionOf(await stack.client.post('/v1/chat/completions', { model: 'lorem', messages }))
  await stack.queues.empty()
}

test('liveliness and readiness need no key', async () => {
  for (const path of ['/health/liveliness', '/health/liveness']) {
    const { status, json } = await stack.client.get(path, withoutKey)
    assert.deepEqual({ status, json }, { status: 200, json: "I'm alive!" })
  }
  const { status, json } = await stack.client.get('/health/readiness', withoutKey)
  assert.equal(status, 200)
  assert.deepEqual(json, { status: 'healthy', db: 'connected', problems: [] })
})

test('/health says which deployments are served, and which are not', async () => {
  const { json } = await stack.client.get('/health')
  assert.partialDeepStrictEqual(json, {
    healthy_count: 1,
    unhealthy_count: 1,
    healthy_endpoints: [{ model_group: 'lorem' }],
    unhealthy_endpoints: [{ model_group: 'odd' }],
  })
})

const services: [ServiceName, RegExp][] = [
  ['router', /^router: no instance is running$/],
  ['worker', /^worker: no instance is running$/],
  ['billing', /^billing: no instance is running$/],
]
for (const [service, problem] of services) {
  test(`without a ${service} readiness is 503, and green again with one`, async () => {
    await servesAgain()
    await stack.stop(service)
    await unready(problem)
    const alive = await stack.client.get('/health/liveliness')
    assert.equal(alive.status, 200)
    await stack.start(service)
    await servesAgain()
  })
}

test('without NATS readiness is 503 at once, and green again when it is back', async () => {
  await servers.nats.stop()
  await unready(/^nats: /)
  await servers.nats.start()
  await servesAgain()
})

test('without Postgres readiness is 503, and what was answered meanwhile is billed later', async () => {
  const before = await stack.spend.ledger()
  await servers.postgres.stop()
  const problems = await unready(/^database: /)
  assert.partialDeepStrictEqual(problems, { status: 'unhealthy', db: 'disconnected' })
  const messages = [{ role: 'user', content: 'hello there' }]
  completionOf(await stack.client.post('/v1/chat/completions', { model: 'lorem', messages }))
  await servers.postgres.start()
  await servesAgain()
  assert.equal((await stack.spend.ledger()).entries, before.entries + 2)
})

test('without billing nobody can tell what was spent: 503, while requests are answered', async () => {
  await stack.stop('billing')
  const spend = await stack.client.get('/spend/logs?summarize=false')
  assert.equal(spend.status, 503)
  assert.equal(errorOf(spend).type, 'service_unavailable_error')
  const messages = [{ role: 'user', content: 'hello there' }]
  const answer = await stack.client.post('/v1/chat/completions', { model: 'lorem', messages })
  completionOf(answer)
  await stack.start('billing')
  const [row] = await stack.spend.attempts(requestIdOf(answer), 1)
  assert.equal(row?.status, 'success')
})

test('an open gateway listens on loopback only', async () => {
  const { natsUrl } = servers
  const { config } = parseConfig(JSON.stringify({ model_list: [model] }), {})
  for (const host of ['0.0.0.0', '::', '192.0.2.1']) {
    await assert.rejects(
      startGateway({ config, natsUrl, secret: testSecret, host, port: 0, log: silent }),
      (error) => error instanceof ConfigError && /master_key/.test(error.message),
    )
  }
})

test('with a master key a gateway may listen everywhere', async () => {
  const { natsUrl } = servers
  const place = { host: '0.0.0.0', port: 0, secret: testSecret }
  const options = { config: stack.config, natsUrl, ...place, log: silent }
  const gateway = await startGateway(options)
  const response = await fetch(`${gateway.url}/health/liveliness`)
  assert.equal(response.status, 200)
  await response.body?.cancel()
  await gateway.close()
})

test('an edit does not open a gateway that has a master key, on loopback neither', async () => {
  const { natsUrl } = servers
  const place = { host: '127.0.0.1', port: 0, secret: testSecret }
  const gateway = await startGateway({ config: stack.config, natsUrl, ...place, log: silent })
  try {
    const { config: emptied } = parseConfig('', {})
    assert.throws(
      () => gateway.reload(emptied),
      (error) => error instanceof ConfigError && /master_key is gone/.test(error.message),
    )
    const response = await fetch(`${gateway.url}/v1/models`)
    assert.equal(response.status, 401)
    await response.body?.cancel()
  } finally {
    await gateway.close()
  }
})

// A gateway that alone loses its connection to NATS: what was answered meanwhile still comes, and what
// was dropped because it seemed dead is refused at once when it is back, long before the deadline.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { startGateway } from '@penstock/gateway/start-gateway'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { completionOf, errorOf } from '../harness/answers.ts'
import { type Client, createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { untilWaiting } from '../harness/queue-report.ts'
import { type Relay, startRelay } from '../harness/relay.ts'
import { type Servers, silent, startServers } from '../harness/servers.ts'
import { type Stack, startStack, testSecret } from '../harness/stack.ts'

const path = '/v1/chat/completions'
const body = { model: 'narrow', messages: [{ role: 'user', content: 'hello there' }] }
/** Far below the deadline of a request, which is 600 s. */
const limitMs = 20_000

let servers: Servers
let fake: FakeOpenAi
let stack: Stack
let relay: Relay
let gateway: Awaited<ReturnType<typeof startGateway>>
let client: Client

before(async () => {
  servers = await startServers()
  fake = await startFakeOpenAi()
  const deployment = { model: 'openai/gpt-4o-mini', api_base: fake.url, max_parallel_requests: 2 }
  stack = await startStack({
    servers,
    config: { model_list: [{ model_name: 'narrow', litellm_params: deployment }] },
  })
  relay = await startRelay(servers.natsUrl)
  const { config } = stack
  const natsUrl = relay.url
  const place = { host: '127.0.0.1', port: 0, secret: testSecret }
  gateway = await startGateway({ config, natsUrl, ...place, log: silent })
  client = createClient(gateway.url, null, limitMs)
  await eventually('readiness', async () => {
    return (await client.get('/health/readiness')).status === 200
  })
})
after(async () => {
  await client.close()
  await gateway.close()
  await stack.close()
  await Promise.all([relay.close(), fake.close(), servers.close()])
})
afterEach(async () => {
  fake.setBehaviour('normal')
  completionOf(await client.post(path, body))
  await stack.queues.empty()
})

test('an answer that ended while the gateway was cut off comes when it is back', async () => {
  const gate = Promise.withResolvers<void>()
  fake.setBehaviour({ gate: gate.promise })
  const { started } = fake.counts
  const answer = client.post(path, body)
  await fake.until((counts) => counts.started === started + 1)
  relay.cut()
  gate.resolve()
  // Answered, billed and acked: nobody would send it again by himself.
  await stack.queues.empty()
  relay.mend()
  completionOf(await answer)
})

test('what was dropped because the gateway seemed dead is refused when it is back', async () => {
  const content = Array.from({ length: 2_000 }, () => ' the')
  fake.setBehaviour({ content, tokenDelayMs: 20 })
  const { started, aborted } = fake.counts
  const stream = await client.open(path, { ...body, stream: true })
  assert.notEqual(await stream.next(), null)
  const running = client.post(path, body)
  await fake.until((counts) => counts.started === started + 2)
  const waiting = client.post(path, body)
  await untilWaiting(stack.client, 'narrow', 1)

  relay.cut()
  await fake.until((counts) => counts.aborted === aborted + 2, 10_000)
  await stack.queues.empty()
  relay.mend()
  for (const answer of await Promise.all([running, waiting])) {
    assert.equal(answer.status, 502)
    assert.equal(errorOf(answer).type, 'api_error')
  }
  const last = (await stream.rest()).at(-1)
  assert.match(last ?? '', /"error"/)
  assert.equal(fake.counts.started, started + 2, 'nothing is done twice')
})

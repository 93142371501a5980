// A large body whose bytes are removed while a worker fetches them: its slot serves the next request.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectBus } from '@penstock/shared/bus/connect'
import { claimStore } from '@penstock/shared/contracts/channels'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { completionOf } from '../harness/answers.ts'
import { type Processes, startProcesses } from '../harness/processes.ts'
import { untilWaiting } from '../harness/queue-report.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { quiet } from './billing-setup.ts'

const path = '/v1/chat/completions'
const body = { model: 'narrow', messages: [{ role: 'user', content: 'hello there' }] }
const large = { ...body, messages: [{ role: 'user', content: 'x'.repeat(3_000_000) }] }

let servers: Servers
let fake: FakeOpenAi
let penstock: Processes

before(async () => {
  servers = await startServers()
  fake = await startFakeOpenAi()
  const narrow = { model: 'openai/gpt-4o-mini', api_base: fake.url, max_parallel_requests: 1 }
  penstock = await startProcesses({
    servers,
    config: {
      model_list: [{ model_name: 'narrow', litellm_params: narrow }],
      general_settings: { master_key: 'sk-1234' },
    },
  })
  const services = ['router', 'worker', 'billing'] as const
  await Promise.all(services.map((service) => penstock.start(service)))
  await penstock.ready()
})
after(async () => {
  await penstock.close()
  await Promise.all([fake.close(), servers.close()])
})

test('a body that is gone when its turn comes holds no slot once its client has left', async () => {
  const gate = Promise.withResolvers<void>()
  fake.setBehaviour({ gate: gate.promise })
  const running = penstock.client.post(path, body)
  await fake.until(({ started }) => started === 1)
  const leaving = new AbortController()
  const left = penstock.client.post(path, large, { signal: leaving.signal }).catch(() => null)
  await untilWaiting(penstock.client, 'narrow', 1)

  // As a gateway's own removal, between a worker's look at the entry and the first chunk.
  const bus = await connectBus({ natsUrl: servers.natsUrl, name: 'test', log: quiet })
  const { bucket } = claimStore
  await bus.jsm.streams.purge(`OBJ_${bucket}`, { filter: `$O.${bucket}.C.>` })
  await bus.close()
  fake.setBehaviour('normal')
  gate.resolve()
  completionOf(await running)
  await sleep(1_000)
  leaving.abort()
  await left
  const next = await penstock.client.post(path, body, { signal: AbortSignal.timeout(15_000) })
  completionOf(next)
  assert.equal(fake.counts.started, 2)
})

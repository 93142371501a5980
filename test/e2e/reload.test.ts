// The config file is edited while everything runs: a valid one takes effect and no request is
// dropped, a broken one is refused with its reason and the old one stays.
import assert from 'node:assert/strict'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { completionOf, errorOf, fakeText, streamed } from '../harness/answers.ts'
import { type CliPart, startPart } from '../harness/cli-part.ts'
import { type Client, createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { untilQueue } from '../harness/queue-report.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { testSecret, untilReady } from '../harness/stack.ts'

const messages = [{ role: 'user', content: 'hello there' }]
const masterKey = 'sk-1234'
const inEffect = 'the changed config is in effect'
const refused = 'the changed config is refused, the old one stays in effect'

let servers: Servers
let configFile: string
let ollama: FakeOllama
let other: FakeOllama
let openai: FakeOpenAi
let client: Client
let gateway: CliPart
/** The three that follow the config. */
let followers: CliPart[]
let billing: CliPart
let url: string
/** The config that is in effect. */
let edited: string

before(async () => {
  servers = await startServers()
  configFile = join(servers.directory, 'reload.yaml')
  ollama = await startFakeOllama()
  other = await startFakeOllama()
  openai = await startFakeOpenAi()
  edited = JSON.stringify(configWith())
  await write(edited)
  const { natsUrl: NATS_URL, databaseUrl: DATABASE_URL } = servers
  const env = { NATS_URL, DATABASE_URL, PENSTOCK_SECRET: testSecret }
  const start = (part: string, ...flags: string[]) =>
    startPart([part, '--config', configFile, ...flags], env)
  // Not the address that counts as loopback: what it takes for the network is one all the same.
  gateway = start('gateway', '--host', '127.0.0.2', '--port', '0')
  followers = [gateway, start('router'), start('worker')]
  billing = start('billing')
  const { port } = await gateway.logs('its port', ({ msg }) => msg === 'gateway listens')
  url = `http://127.0.0.2:${port}`
  client = createClient(url, masterKey)
  await untilReady(client)
})
after(async () => {
  await client.close()
  await Promise.all([...followers, billing].map((part) => part.stop()))
  await Promise.all([ollama.close(), other.close(), openai.close(), servers.close()])
})
beforeEach(async () => {
  for (const fake of [ollama, other]) fake.setBehaviour('normal')
  await edit(configWith())
})

interface Changes {
  models?: readonly object[]
  routerSettings?: object
  generalSettings?: object
}

/** The config that each test begins with, with its changes. */
function configWith({ models = [], routerSettings = {}, generalSettings }: Changes = {}) {
  return {
    model_list: [deployment('kept', { max_parallel_requests: 4 }), ...models],
    router_settings: routerSettings,
    general_settings: generalSettings ?? { master_key: masterKey },
  }
}

function deployment(name: string, params: object = {}) {
  const litellm = { model: 'ollama_chat/llama3.2', api_base: ollama.url, ...params }
  return { model_name: name, litellm_params: litellm }
}

/** As an editor saves it: another file takes the old one's place. */
async function write(text: string): Promise<void> {
  await writeFile(`${configFile}.new`, text)
  await rename(`${configFile}.new`, configFile)
}

function allLog(message: string, parts: readonly CliPart[] = followers) {
  return Promise.all(parts.map((part) => part.logs(message, ({ msg }) => msg === message)))
}

/** Resolves when every part has the new config. */
async function edit(config: object): Promise<void> {
  const text = JSON.stringify(config)
  if (text === edited) return
  edited = text
  await write(text)
  await allLog(inEffect)
}

function ask(model: string, by = client) {
  return by.post('/v1/chat/completions', { model, messages })
}

/** The gateway hears of the fleet by heartbeat. */
async function listed(models: string[]): Promise<void> {
  const wanted = models.toSorted().join()
  await eventually(wanted, async () => {
    const answer = await client.get('/v1/models')
    const { data } = answer.json as { data: { id: string }[] }
    const found = data.map(({ id }) => id).sort()
    return found.join() === wanted
  })
}

test('groups come, go and move under load, and no request fails', async () => {
  await edit(configWith({ models: [deployment('moved'), deployment('old')] }))
  await listed(['kept', 'moved', 'old'])
  const gate = Promise.withResolvers<void>()
  const { started } = ollama.counts
  ollama.setBehaviour(({ body }) => (body.stream === true ? { gate: gate.promise } : {}))
  const body = { model: 'old', messages, stream: true }
  const underway = client.open('/v1/chat/completions', body)
  await ollama.until((counts) => counts.started === started + 1)

  let editing = true
  const load = ['kept', 'kept', 'kept', 'moved', 'moved', 'moved'].map(async (model) => {
    let count = 0
    for (; editing && count < 20_000; count++) completionOf(await ask(model))
    return count
  })
  const models = [deployment('moved', { api_base: other.url }), deployment('new')]
  const routerSettings = { model_group_alias: { another: 'new' } }
  await edit(configWith({ models, routerSettings }))
  await listed(['another', 'kept', 'moved', 'new'])
  await other.until((counts) => counts.finished > 10)
  editing = false
  const counts = await Promise.all(load)
  assert.ok(Math.min(...counts) > 0)

  for (const model of ['new', 'another']) completionOf(await ask(model))
  const gone = await ask('old')
  assert.equal(gone.status, 404)
  assert.equal(errorOf(gone).type, 'model_not_found')
  gate.resolve()
  const { text, dones } = streamed(await (await underway).rest())
  assert.deepEqual({ text, dones }, { text: fakeText(5), dones: 1 })
})

test('more slots are used at once, fewer as soon as they are free', async () => {
  const host = await startFakeOllama()
  const withSlots = (slots: number) => {
    const params = { api_base: host.url, max_parallel_requests: slots }
    return configWith({ models: [deployment('narrow', params)] })
  }
  const queued = (slots: number, depth: number) =>
    untilQueue(client, 'narrow', (one) => one.slots_total === slots && one.depth === depth)
  const ask4 = () => Promise.all(Array.from({ length: 4 }, () => ask('narrow')))
  try {
    await edit(withSlots(1))
    await queued(1, 0)
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
    host.setBehaviour({ gate: gates[0].promise })
    const first = ask4()
    await host.until(({ concurrent }) => concurrent === 1)
    await queued(1, 3)
    await edit(withSlots(3))
    await host.until(({ concurrent }) => concurrent === 3)
    await queued(3, 1)
    gates[0].resolve()
    for (const answer of await first) completionOf(answer)
    assert.deepEqual([host.counts.maxConcurrent, host.counts.started], [3, 4])

    await edit(withSlots(1))
    await queued(1, 0)
    host.setBehaviour({ gate: gates[1].promise })
    const second = ask4()
    await host.until(({ concurrent }) => concurrent === 1)
    await queued(1, 3)
    assert.equal(host.counts.concurrent, 1)
    gates[1].resolve()
    for (const answer of await second) completionOf(answer)
  } finally {
    await host.close()
  }
})

test("an upstream's new key is used by the next call", async () => {
  const withKey = (key: string) => {
    const params = { model: 'openai/gpt-4o-mini', api_base: openai.url, api_key: key }
    return configWith({ models: [deployment('cloud', params)] })
  }
  for (const key of ['sk-first', 'sk-second']) {
    await edit(withKey(key))
    await listed(['cloud', 'kept'])
    completionOf(await ask('cloud'))
    assert.equal(openai.calls.at(-1)?.headers.authorization, `Bearer ${key}`)
  }
})

test('a broken edit is refused by each part with its reason, and the old config goes on', async () => {
  const broken = { ...configWith(), router_settings: { routing_strategy: 'fastest' } }
  await write(JSON.stringify(broken))
  for (const { error, level } of await allLog(refused)) {
    assert.equal(level, 50)
    assert.match(String(error), /router_settings\.routing_strategy: .*"fastest"/)
  }
  completionOf(await ask('kept'))
  await write('model_list: [')
  for (const { error } of await allLog(refused)) assert.match(String(error), /line 1/)
  completionOf(await ask('kept'))
  await write(edited)
  await allLog('the config has not changed')
})

test('a master key takes the place of the old one, but is never taken away from the network', async () => {
  const newcomer = createClient(url, 'sk-5678')
  try {
    assert.equal((await ask('kept', newcomer)).status, 401)
    await edit(configWith({ generalSettings: { master_key: 'sk-5678' } }))
    completionOf(await ask('kept', newcomer))
    assert.equal((await ask('kept')).status, 401)

    await write(JSON.stringify(configWith({ generalSettings: {} })))
    const [line] = await allLog(refused, [gateway])
    await allLog(inEffect, followers.slice(1))
    assert.match(String(line?.error), /without general_settings\.master_key the gateway is open/)
    assert.equal((await ask('kept')).status, 401)
    completionOf(await ask('kept', newcomer))
  } finally {
    await newcomer.close()
  }
})

test('SIGHUP has every part read the file at once', async () => {
  for (const part of followers) part.kill('SIGHUP')
  await allLog('the config has not changed')
  completionOf(await ask('kept'))
})

// `npm start` from the outside: it starts with nothing, answers, stops whole and finds its data again.
import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { completionOf, requestIdOf } from '../harness/answers.ts'
import type { Client } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { type Instance, npmStart } from '../harness/launcher.ts'

/** What the launcher promises: nothing of it runs any more after this, in milliseconds. */
const stopLimitMs = 10_000

let folder: string
const instances: Instance[] = []

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-launcher-'))
})
after(async () => {
  for (const instance of instances) {
    for (const { pid } of await instance.processes()) kill(pid)
    await instance.gone(stopLimitMs)
  }
  await rm(folder, { recursive: true })
})

function start(name: string, flags: string[] = []): Instance {
  const instance = npmStart(join(folder, name), ['--port', '0', ...flags])
  instances.push(instance)
  return instance
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

const spendRows = z.array(z.object({ request_id: z.string() }))

const question = { model: 'sim/lorem', messages: [{ role: 'user', content: 'Hello!' }] }

/** Asks, and gives the id under which the books have it. */
async function ask(client: Client): Promise<string> {
  const answer = await client.post('/v1/chat/completions', question)
  assert.notEqual(completionOf(answer).text, '')
  return requestIdOf(answer)
}

/** Resolves when the books have all these requests. */
async function recorded(client: Client, ids: string[]): Promise<void> {
  await eventually(`rows of ${ids}`, async () => {
    const answer = await client.get('/spend/logs?summarize=false&limit=100')
    if (answer.status !== 200) return false
    const rows = spendRows.parse(answer.json).map((row) => row.request_id)
    return ids.every((id) => rows.includes(id))
  })
}

test('it starts with nothing, stops at Ctrl-C with 0, and a second start finds its data', async () => {
  const first = start('twice')
  let client = await first.ready()
  assert.match(first.output(), /sim\/lorem.*SIMULATED/)
  assert.match(first.output(), /curl http:\S+\/v1\/chat\/completions .*"model":"sim\/lorem"/)
  const before = await ask(client)
  await recorded(client, [before])
  // Keys are known by a secret of the data directory, which has to be the same the next time.
  const key = 'sk-of-the-first-start'
  assert.equal((await client.post('/key/generate', { key })).status, 200)
  await client.close()

  first.signalGroup('SIGINT')
  assert.deepEqual(await first.exited, { code: 0, signal: null }, first.output())
  // npm has ended, and it does so last: nothing may be left even now.
  assert.deepEqual(await first.processes(), [])

  const second = start('twice')
  client = await second.ready()
  const now = await ask(client)
  await recorded(client, [before, now])
  assert.equal((await client.get(`/key/info?key=${key}`)).status, 200)
  assert.equal((await stat(join(folder, 'twice', 'secret'))).mode & 0o777, 0o600)
  await client.close()
  second.signalGroup('SIGINT')
  assert.equal((await second.exited).code, 0)
})

test('Ctrl-C while an answer streams ends everything in time', async () => {
  const instance = start('streaming')
  const client = await instance.ready()
  const slow = { ...question, stream: true, sim_tokens: 100_000, sim_tokens_per_second: 20 }
  const stream = await client.open('/v1/chat/completions', slow)
  await stream.next()
  instance.signalGroup('SIGINT')
  await instance.gone(stopLimitMs)
  assert.deepEqual(await instance.exited, { code: 0, signal: null }, instance.output())
  await client.close()
})

test('SIGTERM to the launcher alone ends everything with 0', async () => {
  const instance = start('term')
  await (await instance.ready()).close()
  const launcher = await instance.process(/cli\.ts up /)
  process.kill(launcher.pid, 'SIGTERM')
  await instance.gone(stopLimitMs)
  assert.deepEqual(await instance.exited, { code: 0, signal: null }, instance.output())
})

test('when the launcher is killed nothing is left, and the next start works', async () => {
  const instance = start('killed')
  await (await instance.ready()).close()
  const launcher = await instance.process(/cli\.ts up /)
  process.kill(launcher.pid, 'SIGKILL')
  await instance.gone(stopLimitMs)

  const next = start('killed')
  const client = await next.ready()
  await ask(client)
  await client.close()
  next.signalGroup('SIGINT')
  assert.equal((await next.exited).code, 0)
})

test('each service and server that is killed is started again, and it says so', async () => {
  const instance = start('restarts')
  const client = await instance.ready()
  const victims: [name: string, commandLine: RegExp][] = [
    ['gateway', /cli\.ts gateway /],
    ['router', /cli\.ts router /],
    ['worker', /cli\.ts worker /],
    ['billing', /cli\.ts billing /],
    ['nats', /^\S*nats-server /],
    ['postgres', /^\S*postgres -D /],
  ]
  for (const [name, commandLine] of victims) {
    process.kill((await instance.process(commandLine)).pid, 'SIGKILL')
    await instance.prints(new RegExp(`^${name} ended .*; starting it again in`, 'm'))
  }
  const asked = await eventually('an answer from what came back', () => ask(client))
  await recorded(client, [asked])
  await client.close()
  instance.signalGroup('SIGINT')
  assert.equal((await instance.exited).code, 0)
})

test('two instances run side by side, and a data directory has one launcher', async () => {
  const [one, other] = [start('one'), start('other')]
  const clients = await Promise.all([one.ready(), other.ready()])
  for (const client of clients) await ask(client)

  const intruder = start('one')
  assert.equal((await intruder.exited).code, 1)
  assert.match(intruder.output(), /in use by another Penstock \(process \d+\)/)

  for (const client of clients) await client.close()
  one.signalGroup('SIGINT')
  other.signalGroup('SIGTERM')
  assert.equal((await one.exited).code, 0)
  assert.equal((await other.exited).code, 0)
})

test('beyond loopback it needs a master key, and says so', async () => {
  const instance = start('open', ['--host', '0.0.0.0'])
  assert.equal((await instance.exited).code, 78)
  assert.match(instance.output(), /--host 0\.0\.0\.0.*master_key/)
  await instance.gone(stopLimitMs)
})

test('a port that is taken and a config that is broken are told before anything is started', async () => {
  const holder = start('holder')
  const client = await holder.ready()
  const [, port] = await holder.prints(/ready at http:\/\/127\.0\.0\.1:(\d+)/)
  for (const [flags, message] of [
    [['--port', port ?? ''], /Port \d+ of 127\.0\.0\.1 is taken.*--port/],
    [['--config', '/no/such/file.yaml'], /\/no\/such\/file\.yaml/],
  ] as const) {
    const refused = start('refused', [...flags])
    assert.equal((await refused.exited).code, 78)
    assert.match(refused.output(), message)
    assert.doesNotMatch(refused.output(), /Stopping/)
  }
  await client.close()
  holder.signalGroup('SIGINT')
  assert.equal((await holder.exited).code, 0)
})

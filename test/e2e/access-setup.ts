// The stage of the access tests: two gateways and two billing services, a team with its admin and its
// members and another team, a client for each of them; and a record of all that anybody says.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { connectBus } from '@penstock/shared/bus/connect'
import { z } from 'zod'
import { completionOf, requestIdOf } from '../harness/answers.ts'
import { type Answer, type Client, createClient } from '../harness/client.ts'
import { startOtlpCollector } from '../harness/otlp-collector.ts'
import { recordLog } from '../harness/record-log.ts'
import { silent, startServers } from '../harness/servers.ts'
import { startStack } from '../harness/stack.ts'
import { messageBatchOf, type Objects, type Owner, type Role, uploadOf } from './access-routes.ts'

export const masterKey = 'sk-master-0123456789'
export const wrongKey = 'sk-wrong-0123456789'
export const messages = [{ role: 'user', content: 'hello' }]

const endpoint = 'OTEL_EXPORTER_OTLP_ENDPOINT'
const users = { holder: 'the-holder', admin: 'the-admin', mate: 'the-mate', other: 'another' }
const ours = [
  { role: 'admin', user_id: users.admin },
  { role: 'user', user_id: users.holder },
  { role: 'user', user_id: users.mate },
]
const theirs = [{ role: 'user', user_id: users.other }]

/** An answer that shows a key: to whoever made one. */
const shown = z.looseObject({ key: z.string().startsWith('sk-') })
const made = z.looseObject({ key: z.string(), token: z.string() })
export type MadeKey = z.infer<typeof made>

interface Upload {
  body: object | string
  headers?: Record<string, string>
}

export type Stage = Awaited<ReturnType<typeof startStage>>

export async function startStage() {
  const servers = await startServers()
  const collector = await startOtlpCollector()
  const log = recordLog('trace')
  process.env[endpoint] = collector.url
  const simulated = (model_name: string) => ({ model_name, litellm_params: { model: 'sim/lorem' } })
  const stack = await startStack({
    servers,
    loggerOf: log.loggerOf,
    count: { gateway: 2, billing: 2 },
    config: {
      model_list: [simulated('allowed'), simulated('forbidden')],
      general_settings: { master_key: masterKey },
    },
  })
  const bus = await connectBus({ natsUrl: servers.natsUrl, name: 'listener', log: silent })
  const opened: Client[] = []
  /** All keys that were made. */
  const keys: string[] = []
  /** Everything that anybody was answered, and that was said on the bus. */
  const answers: string[] = []
  const said: string[] = []
  bus.nc.subscribe('penstock.>', {
    callback: (_error, msg) => void said.push(Buffer.from(msg.data).toString('latin1')),
  })
  await bus.nc.flush()

  function clientOf(key: string | null, url: string = stack.url): Client {
    const client = createClient(url, key)
    opened.push(client)
    return client
  }
  const master = clientOf(masterKey)

  /** Records the answer; of one that shows a new key, all but the one place where that stands. */
  async function send(
    client: Client,
    method: string,
    path: string,
    body: object | string = {},
    headers: Record<string, string> = {},
  ) {
    const hasBody = !['GET', 'HEAD'].includes(method)
    const options = { method, headers }
    const answer = await (hasBody ? client.post(path, body, options) : client.get(path, options))
    const { success, data } = shown.safeParse(answer.json)
    if (success) keys.push(data.key)
    const text = success ? answer.text.replace(data.key, '') : answer.text
    answers.push(`${text}\n${JSON.stringify([...answer.headers])}`)
    return answer
  }

  /** By the master key. */
  async function make(path: string, body: object): Promise<unknown> {
    const answer = await send(master, 'POST', path, body)
    assert.equal(answer.status, 200, answer.text)
    return answer.json
  }
  const newKey = async (fields: object) => made.parse(await make('/key/generate', fields))

  await make('/team/new', { team_id: 'ours', models: ['allowed'], members_with_roles: ours })
  await make('/team/new', { team_id: 'theirs', members_with_roles: theirs })
  const store_prompts = true
  const keyOf = {
    holder: await newKey({ user_id: users.holder, team_id: 'ours', store_prompts }),
    admin: await newKey({ user_id: users.admin, team_id: 'ours', store_prompts }),
    mate: await newKey({ user_id: users.mate, team_id: 'ours', store_prompts }),
    other: await newKey({ user_id: users.other, team_id: 'theirs', store_prompts }),
  }
  const clients: Record<Role | 'none' | 'wrong', Client> = {
    none: clientOf(null),
    wrong: clientOf(wrongKey),
    holder: clientOf(keyOf.holder.key),
    admin: clientOf(keyOf.admin.key),
    master,
  }
  /** Whose request it was → its id. */
  const requests = new Map<string, string>()
  for (const [name, { key }] of Object.entries(keyOf)) {
    const body = { model: 'allowed', messages }
    const answer: Answer = await send(clientOf(key), 'POST', '/v1/chat/completions', body)
    completionOf(answer)
    requests.set(name, requestIdOf(answer))
    await stack.spend.attempts(requestIdOf(answer), 1)
  }

  function objectsFor(role: Role): Objects {
    const asker = role === 'admin' ? 'admin' : 'holder'
    const whose = (owner: Exclude<Owner, 'missing'>) => (owner === 'own' ? asker : owner)
    const newName = () => `new-${randomUUID()}`
    const userOf = (owner: Owner) => (owner === 'missing' ? 'nobody' : users[whose(owner)])
    const team: Objects['team'] = async (which) => {
      if (which === 'own') return 'ours'
      const team_id = newName()
      if (which === 'missing') return team_id
      await make('/team/new', { team_id, members_with_roles: which === 'other' ? theirs : ours })
      return team_id
    }
    const clientFor = (owner: Exclude<Owner, 'missing'>) => clientOf(keyOf[whose(owner)].key)
    const madeId = async (client: Client, path: string, { body, headers }: Upload) => {
      const answer = await send(client, 'POST', path, body, headers)
      assert.equal(answer.status, 200, answer.text)
      return z.object({ id: z.string() }).parse(answer.json).id
    }
    const file: Objects['file'] = async (owner) =>
      owner === 'missing' ? newName() : madeId(clientFor(owner), '/v1/files', uploadOf('{}\n'))
    return {
      newName,
      team,
      file,
      async batch(owner) {
        if (owner === 'missing') return newName()
        const input_file_id = await file(owner)
        const body = { input_file_id, endpoint: '/v1/chat/completions' }
        return madeId(clientFor(owner), '/v1/batches', { body })
      },
      async messageBatch(owner) {
        if (owner === 'missing') return newName()
        const body = messageBatchOf('allowed')
        return madeId(clientFor(owner), '/v1/messages/batches', { body })
      },
      user: userOf,
      request: (owner) => requests.get(owner === 'missing' ? '' : whose(owner)) ?? newName(),
      async key(owner) {
        if (owner === 'missing') return 'key_of_nobody'
        const team_id = owner === 'other' ? 'theirs' : 'ours'
        return (await newKey({ team_id, user_id: userOf(owner) })).token
      },
      async member(which) {
        const team_id = await team(which)
        if (which !== 'own') return { team_id, user_id: users[which === 'other' ? which : 'mate'] }
        const user_id = newName()
        await make('/team/member_add', { team_id, member: { role: 'user', user_id } })
        return { team_id, user_id }
      },
      async newUser() {
        const user_id = newName()
        await make('/user/new', { user_id, auto_create_key: false })
        return user_id
      },
      async newBudget() {
        const budget_id = newName()
        await make('/budget/new', { budget_id, max_budget: 1 })
        return budget_id
      },
    }
  }

  const stopServices = async () => {
    await Promise.all(opened.splice(0).map((client) => client.close()))
    await bus.close()
    await stack.close()
  }
  let stopped: Promise<void> | null = null
  /** Every service writes what it still has to say. Once or more often. */
  const stop = () => {
    stopped ??= stopServices()
    return stopped
  }
  return {
    stack,
    clients,
    keyOf,
    keys,
    /** All that can be read: what was answered, said on the bus, logged and traced. */
    record: () => ({ answers, said, logged: [log.text()], traced: [collector.text()] }),
    clientOf,
    send,
    make,
    newKey,
    objectsFor,
    stop,
    async close() {
      delete process.env[endpoint]
      await stop()
      await Promise.all([servers.close(), collector.close()])
    },
  }
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { parseConfig } from '@penstock/shared/config/load'
import pino from 'pino'
import { createApp } from '../app.ts'
import type { Gateway } from '../gateway.ts'
import type { NewRequest } from '../offer.ts'

const { config } = parseConfig(
  JSON.stringify({
    model_list: ['plain', 'secret'].map((model_name) => ({
      model_name,
      litellm_params: { model: 'sim/lorem' },
    })),
    router_settings: { model_group_alias: { alias: 'secret' } },
    penstock_settings: { model_groups: { secret: { data: 'local' } } },
  }),
  {},
)

let server: Server
let url: string
let sent: NewRequest[]
/** Of each request with a session: its id, and whether the request demands that it stays local. */
let held: [string, boolean][]
let hold: Gateway['localSessions']['hold']

beforeEach(async () => {
  sent = []
  held = []
  hold = async (_session, demanded) => demanded
  const gateway = {
    config,
    fleet: { groups: () => [], aliases: {} },
    tracing: { start: () => null },
    metrics: { answered: () => {}, firstToken: () => {}, handler: () => {} },
    log: pino({ level: 'silent' }),
    authenticate: () => ({ caller: { keyId: null, userId: null, teamId: null }, admin: true }),
    localSessions: {
      hold(session: string, demanded: boolean) {
        held.push([session, demanded])
        return hold(session, demanded)
      },
    },
    dispatcher: {
      send(asked: NewRequest, _body: unknown, sink: { onEnd(head: null, data: Buffer): void }) {
        sent.push(asked)
        sink.onEnd(null, Buffer.from('{}'))
        return () => {}
      },
    },
  }
  server = createServer(createApp(gateway as unknown as Gateway)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  url = `http://127.0.0.1:${port}/v1/chat/completions`
})
afterEach(async () => {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
})

const bodyOf = (model: string, metadata: object = { session_id: 's1' }) =>
  JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }], metadata })

async function ask(model: string, metadata?: object): Promise<void> {
  const response = await fetch(url, { method: 'POST', body: bodyOf(model, metadata) })
  assert.equal(response.status, 200, await response.text())
}

test('a session that is used in a group of local data is marked, under an alias too', async () => {
  await ask('secret')
  await ask('alias')
  await ask('plain')
  await ask('plain', { session_id: 's2', data: 'local' })
  assert.deepEqual(held, [
    ['s1', true],
    ['s1', true],
    ['s1', false],
    ['s2', true],
  ])
  assert.deepEqual(
    sent.map(({ local }) => local),
    [true, true, false, true],
  )
})

test('a client that leaves while its session is looked up is not answered by anyone', async () => {
  const looking = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<boolean>()
  hold = () => {
    looking.resolve()
    return answer.promise
  }
  const left = closeOfConnection()
  const client = request(url, { method: 'POST' })
  client.on('error', () => {})
  client.end(bodyOf('plain'))
  await looking.promise
  client.destroy()
  await left
  answer.resolve(false)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(sent, [])
})

/** Resolves when the server has lost its next connection, however that ended. */
async function closeOfConnection(): Promise<void> {
  const [socket]: Socket[] = await once(server, 'connection')
  await new Promise<void>((resolve) => socket?.once('close', () => resolve()))
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { parseConfig } from '@penstock/shared/config/load'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import type { Admission, Outcome } from '../admission/admission.ts'
import type { AnswerSink } from '../answer.ts'
import { createApp } from '../app.ts'
import { anybody, type Identity } from '../auth.ts'
import { keyFactsOf } from '../fixtures/key-facts.ts'
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
let identity: Identity | Promise<Identity>
let url: string
let sent: NewRequest[]
/** Of each request with a session: its id, and whether the request demands that it stays local. */
let held: [string, boolean][]
let hold: Gateway['localSessions']['hold']
let admit: Admission['admit']
let outcomes: Outcome['kind'][]

beforeEach(async () => {
  identity = anybody
  sent = []
  held = []
  hold = async (_session, demanded) => demanded
  outcomes = []
  const settled = ({ kind }: Outcome) => outcomes.push(kind)
  admit = ({ allowedGroups }) => ({ allowedGroups, answerLimit: null, headers: () => [], settled })
  const gateway = {
    config,
    fleet: { groups: () => [], aliases: {} },
    tracing: { start: () => null },
    metrics: { answered: () => {}, firstToken: () => {}, handler: () => {} },
    log: pino({ level: 'silent' }),
    authenticate: () => identity,
    admission: { admit: (question: Parameters<typeof admit>[0]) => admit(question) },
    localSessions: {
      hold(session: string, demanded: boolean) {
        held.push([session, demanded])
        return hold(session, demanded)
      },
    },
    dispatcher: {
      send(asked: NewRequest, _body: unknown, sink: AnswerSink) {
        sent.push(asked)
        sink.onEnd(null, Buffer.from('{}'), {
          head: null,
          usage: noUsage,
          startedAt: 1,
          endedAt: 2,
        })
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

describe('admission', () => {
  test('is told once how each request that it let through ended', async () => {
    await ask('plain', {})
    assert.deepEqual(outcomes, ['answered'])
  })

  test('keeps a request that it refuses from being sent, with its status and headers', async () => {
    for (const isLate of [false, true]) {
      admit = ({ onHeader }) => {
        onHeader?.('x-ratelimit-limit-requests', '3')
        const error = new PenstockError('rate_limited', 'Enough.', { retryAfterMs: 1_500 })
        if (isLate) return Promise.reject(error)
        throw error
      }
      const response = await fetch(url, { method: 'POST', body: bodyOf('plain', {}) })
      assert.equal(response.status, 429, await response.text())
      assert.equal(response.headers.get('retry-after'), '2')
      assert.equal(response.headers.get('x-ratelimit-limit-requests'), '3')
    }
    assert.deepEqual([sent, outcomes], [[], []])
  })

  test('gets back what it gave to a client that left meanwhile', async () => {
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    const letIn = admit
    admit = async (question) => {
      asked.resolve()
      await answer.promise
      return letIn(question)
    }
    const left = closeOfConnection()
    const client = request(url, { method: 'POST' })
    client.on('error', () => {})
    client.end(bodyOf('plain', {}))
    await asked.promise
    client.destroy()
    await left
    answer.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([sent, outcomes], [[], ['unsent']])
  })
})

describe('a virtual key', () => {
  const holder = (facts: Partial<KeyFacts>): Identity => {
    const caller = { keyId: 'key_1', userId: 'jane', teamId: 't1' }
    const actor = { role: 'key' as const, ...caller }
    return { caller, admin: false, actor, facts: keyFactsOf({ ...caller, ...facts }) }
  }

  test('leaves its ids, its tags and what it may use in the message, looked up or not', async () => {
    const facts = { tags: ['of the key'], aliases: { mine: 'plain' }, modelLists: [['plain']] }
    for (const known of [holder(facts), Promise.resolve(holder(facts))]) {
      identity = known
      await ask('mine', { tags: ['of the request'] })
    }
    for (const request of sent) {
      assert.partialDeepStrictEqual(request, {
        requestedModel: 'mine',
        model: 'plain',
        group: 'plain',
        allowedGroups: [],
        caller: { keyId: 'key_1', userId: 'jane', teamId: 't1', endUser: null },
        tags: ['of the key', 'of the request'],
        sharer: 'team:t1',
        storePrompts: false,
      })
    }
    assert.equal(sent.length, 2)
  })

  test('decides over the config whether its prompts are kept', async () => {
    identity = holder({ storePrompts: true })
    await ask('plain', {})
    assert.equal(sent[0]?.storePrompts, true)
  })

  test('is refused a model that it may not use', async () => {
    identity = holder({ modelLists: [['plain']] })
    const response = await fetch(url, { method: 'POST', body: bodyOf('alias') })
    assert.equal(response.status, 403)
    const { error } = (await response.json()) as { error: { type: string } }
    assert.equal(error.type, 'key_model_access_denied')
    assert.deepEqual(sent, [])
  })
})

test('an error never repeats a key that stands in a path', async () => {
  const key = 'sk-0123456789abcdef'
  const response = await fetch(new URL(`/key/${key}/nonsense`, url))
  assert.equal(response.status, 404)
  const text = await response.text()
  assert.match(text, /There is no GET \/key\/sk-\.\.\.\/nonsense/)
  assert.ok(!text.includes(key))
})

/** Resolves when the server has lost its next connection, however that ended. */
async function closeOfConnection(): Promise<void> {
  const [socket]: Socket[] = await once(server, 'connection')
  await new Promise<void>((resolve) => socket?.once('close', () => resolve()))
}

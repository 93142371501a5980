import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { after, before, beforeEach, test } from 'node:test'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import type { AdminQuestion } from '@penstock/shared/contracts/admin'
import { operation } from '@penstock/shared/contracts/admin/operation'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import express, { type ErrorRequestHandler } from 'express'
import pino from 'pino'
import { z } from 'zod'
import { writeError } from '../answer.ts'
import type { Identity } from '../auth.ts'
import { correlate } from '../correlation.ts'
import { keyFactsOf } from '../fixtures/key-facts.ts'
import type { Gateway } from '../gateway.ts'
import { mountAdmin } from './admin-routes.ts'
import { createSecret } from './secret.ts'

const masterKey = 'sk-0123456789abcdef'
const oldKey = 'sk-old-0123456789'
const chosen = 'sk-chosen-0123456789'
const secret = createSecret('the secret')
const hashOf = (key: string) => secret.digestOf(key).toString('hex')

const made = z.object({ token: z.string().nullable(), key_name: z.string().nullable() })
const operations = {
  'key.generate': operation({
    method: 'post',
    path: '/key/generate',
    params: z.strictObject({
      key: z.string().nullish(),
      models: z.array(z.string()).optional(),
      max_budget: z.number().min(0).nullish(),
    }),
    reply: made,
    makesKey: 'key',
  }),
  'key.regenerate': operation({
    method: 'post',
    path: '/key/regenerate',
    alsoAt: '/key/:key/regenerate',
    params: z.strictObject({ key: z.string(), new_key: z.string().nullish() }),
    reply: made,
    keyParams: ['key'],
    makesKey: 'new_key',
  }),
  'key.info': operation({
    method: 'get',
    path: '/key/info',
    params: z.strictObject({ key: z.string().optional(), page: z.coerce.number().default(1) }),
    reply: z.object({ info: z.string() }),
    keyParams: ['key'],
  }),
  'key.delete': operation({
    method: 'post',
    path: '/key/delete',
    params: z.strictObject({ keys: z.array(z.string()).nullish() }),
    reply: z.object({ deleted_keys: z.array(z.string()) }),
    keyParams: ['keys'],
  }),
}

let fake: FakeBus
let server: Server
let url: string
let identity: Identity
let questions: AdminQuestion[]
/** Everything that was sent to billing or logged. */
let written: string
let reply: unknown

before(async () => {
  fake = createFakeBus()
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written += chunk.toString()
      done()
    },
  })
  const app = express().use(correlate)
  const gateway = {
    bus: fake.bus,
    config: { masterKey },
    secret,
    log: pino({ level: 'trace' }, sink),
    authenticate: async () => identity,
  }
  mountAdmin(app, gateway as unknown as Gateway, operations)
  const onError: ErrorRequestHandler = (error, _req, res, _next) => {
    writeError(res, toErrorInfo(error))
  }
  app.use(onError)
  server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(async () => {
  server.closeAllConnections()
  const closed = once(server, 'close')
  server.close()
  await closed
})
beforeEach(() => {
  const caller = { keyId: 'key_1', userId: 'jane', teamId: 't1' }
  const actor = { role: 'key' as const, ...caller }
  identity = { caller, admin: false, actor, facts: keyFactsOf(caller) }
  questions = []
  written = ''
  reply = { token: 'key_2', key_name: 'sk-...abcd' }
  fake.onRequest = async (subject, question) => {
    assert.equal(subject, channels.admin.subject())
    questions.push(question as AdminQuestion)
    written += JSON.stringify(question)
    return reply
  }
})

async function send(path: string, body?: unknown) {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(`${url}${path}`, init)
  const json = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, json }
}

/** The error's parts that tell what is wrong, and where. */
async function refusal(path: string, body?: unknown) {
  const { status, json } = await send(path, body)
  const { message, param } = json.error as { message: string; param: string | null }
  assert.deepEqual(questions, [])
  return { status, param, message }
}

test('billing is asked as the table says, and told who asks', async () => {
  const answer = await send('/key/generate', { models: ['a'], max_budget: 1.5 })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  const [question] = questions
  assert.equal(question?.operation, 'key.generate')
  assert.deepEqual(question.actor, identity.actor)
  assert.equal(question.correlationId, answer.headers.get('x-request-id'))
  assert.deepEqual(question.params, { models: ['a'], max_budget: 1.5 })
})

test('a new key is random, shown once, and known outside by its hash', async () => {
  const keys = new Set<string>()
  for (let round = 0; round < 20; round++) {
    const { json } = await send('/key/generate', {})
    const key = String(json.key)
    assert.match(key, /^sk-[\w-]{43}$/)
    assert.equal(Buffer.from(key.slice(3), 'base64url').length, 32)
    keys.add(key)
    assert.deepEqual(questions.at(-1)?.newKey, {
      secretHash: hashOf(key),
      keyName: `sk-...${key.slice(-4)}`,
      secretFingerprint: secret.fingerprint,
    })
    assert.ok(!written.includes(key))
  }
  assert.equal(keys.size, 20)
})

test('a key can be chosen, if it cannot be guessed', async () => {
  const { json } = await send('/key/generate', { key: chosen, max_budget: 1 })
  assert.deepEqual(json, { token: 'key_2', key_name: 'sk-...abcd', key: chosen })
  assert.equal(questions[0]?.newKey?.secretHash, hashOf(chosen))
  assert.deepEqual(questions[0].params, { max_budget: 1 })
  assert.ok(!written.includes(chosen))
  questions = []
  for (const key of ['sk-short', 'no-prefix-0123456789', 'sk-with space 0123456']) {
    const { status, param, message } = await refusal('/key/generate', { key })
    assert.deepEqual([status, param], [400, 'key'])
    assert.ok(!message.includes(key))
  }
  assert.equal((await refusal('/key/generate', { key: masterKey })).status, 409)
})

test('no key is shown where none was made', async () => {
  reply = { token: null, key_name: null }
  const { json } = await send('/key/generate', {})
  assert.deepEqual(json, reply)
})

test('a key that is named goes no further than here: a reference stands in its place', async () => {
  reply = { info: 'x' }
  const cases: [string, unknown][] = [
    [oldKey, `hash:${hashOf(oldKey)}`],
    ['key_0123', 'key_0123'],
    [masterKey, 'master'],
  ]
  for (const [key, reference] of cases) {
    await send(`/key/info?key=${key}&page=2`)
    assert.deepEqual(questions.at(-1)?.params, { key: reference, page: 2 })
  }
  await send('/key/info')
  assert.deepEqual(questions.at(-1)?.params, { page: 1 })
  reply = { deleted_keys: [] }
  await send('/key/delete', { keys: [oldKey, 'key_0123'] })
  assert.deepEqual(questions.at(-1)?.params, { keys: [`hash:${hashOf(oldKey)}`, 'key_0123'] })
  assert.ok(!written.includes(oldKey) && !written.includes(masterKey))
})

test('a key in the path joins the other parameters', async () => {
  for (const [path, body] of [
    [`/key/${oldKey}/regenerate`, { new_key: chosen }],
    ['/key/regenerate', { key: oldKey, new_key: chosen }],
  ] as const) {
    const { json } = await send(path, body)
    assert.equal(json.key, chosen)
    const { params, newKey } = questions.at(-1) ?? {}
    assert.deepEqual(params, { key: `hash:${hashOf(oldKey)}` })
    assert.equal(newKey?.secretHash, hashOf(chosen))
  }
  assert.ok(!written.includes(oldKey) && !written.includes(chosen))
})

test('bad input is refused here, and the field is named', async () => {
  for (const [path, body, status, param] of [
    ['/key/generate', { max_budget: -1 }, 400, 'max_budget'],
    ['/key/generate', { models: ['a', 7] }, 400, 'models[1]'],
    ['/key/generate', { max_bugdet: 1 }, 400, 'max_bugdet'],
    ['/key/generate', [], 400, null],
    ['/key/generate', { models: ['x'.repeat(600_000)] }, 413, null],
    ['/key/regenerate', {}, 400, 'key'],
    ['/key/info?page=x', undefined, 400, 'page'],
  ] as const) {
    const refused = await refusal(path, body)
    assert.deepEqual([refused.status, refused.param], [status, param], path)
  }
  const broken = await fetch(`${url}/key/generate`, { method: 'POST', body: '{' })
  assert.equal(broken.status, 400)
})

test('a POST without a body has no parameters', async () => {
  const response = await fetch(`${url}/key/generate`, { method: 'POST' })
  assert.equal(response.status, 200)
  assert.deepEqual(questions[0]?.params, {})
})

test('what billing refuses keeps its status, and an odd answer is no answer', async () => {
  fake.onRequest = async () => ({
    failed: new PenstockError('permission_denied', 'Not yours.', { param: 'key' }).info,
  })
  const refused = await send('/key/info?key=key_9')
  assert.equal(refused.status, 403)
  assert.partialDeepStrictEqual(refused.json, { error: { message: 'Not yours.', param: 'key' } })
  fake.onRequest = async () => ({ info: 7 })
  assert.equal((await send('/key/info')).status, 500)
  fake.onRequest = () => Promise.reject(new Error('no responders'))
  assert.equal((await send('/key/info')).status, 503)
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import { encodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import type { PenstockError } from '@penstock/shared/contracts/errors'
import type { SpendLogRow } from '@penstock/shared/contracts/spend'
import express, { type ErrorRequestHandler } from 'express'
import pino from 'pino'
import { createSecret } from '../access/secret.ts'
import { writeError } from '../answer.ts'
import type { Gateway } from '../gateway.ts'
import { spendLogs } from './spend.ts'

let fake: FakeBus
let server: Server
let url: string
const secret = createSecret('a secret of thirty-two characters')
const actor = { role: 'key', keyId: 'key_1', userId: null, teamId: null }
/** Of each question to billing. */
let questions: Record<string, unknown>[]

beforeEach(async () => {
  fake = createFakeBus()
  questions = []
  const app = express()
  const gateway = {
    bus: fake.bus,
    log: pino({ level: 'silent' }),
    config: { masterKey: 'sk-master' },
    secret,
    authenticate: () => ({ actor }),
  } as unknown as Gateway
  app.get('/spend/logs', spendLogs(gateway))
  const onError: ErrorRequestHandler = (error, _req, res, _next) => {
    writeError(res, (error as PenstockError).info)
  }
  app.use(onError)
  server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/spend/logs`
})
afterEach(async () => {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
})

/** @param bytes about the size of the row */
function rowOf(request_id: string, bytes = 0): SpendLogRow {
  const time = '2026-01-01T00:00:00.000Z'
  return {
    request_id,
    call_type: 'acompletion',
    api_key: '',
    spend: 0,
    total_tokens: 0,
    prompt_tokens: 0,
    completion_tokens: 0,
    startTime: time,
    endTime: time,
    completionStartTime: null,
    request_duration_ms: 0,
    model: '',
    model_id: '',
    model_group: '',
    custom_llm_provider: '',
    api_base: '',
    user: '',
    team_id: '',
    end_user: '',
    request_tags: [],
    session_id: null,
    status: 'success',
    metadata: { padding: 'x'.repeat(bytes) },
    attempt: 1,
    correlation_id: '',
    spend_usd: '0',
    cost_source: 'configured',
    usage_estimated: false,
    error: null,
  }
}

/** The pages in their order, an error where there is none. */
function billingAnswers(...pages: (SpendLogRow[] | 'fails')[]): void {
  fake.onRequest = async (_subject, question) => {
    const page = pages[questions.push(question as Record<string, unknown>) - 1] ?? 'fails'
    if (page === 'fails') throw new Error('billing is away')
    const nextCursor = questions.length < pages.length ? String(questions.length) : null
    const body = Buffer.from(page.map((row) => JSON.stringify(row)).join())
    return encodeEnvelope({ rows: page.length, nextCursor }, body)
  }
}

test('the pages come as one list, an empty page among them too', async () => {
  billingAnswers([], [rowOf('a'), rowOf('b')], [], [rowOf('c')])
  const rows = (await (await fetch(url)).json()) as SpendLogRow[]
  assert.deepEqual(
    rows.map((row) => row.request_id),
    ['a', 'b', 'c'],
  )
  billingAnswers()
  questions = []
  assert.equal((await fetch(url)).status, 503)
})

test('a list that cannot be finished breaks off and is no valid answer', async () => {
  billingAnswers([rowOf('a')], 'fails')
  await assert.rejects(fetch(url).then((response) => response.text()))
  assert.equal(questions.length, 2)
})

test('a client that does not read is not written to, and one that leaves ends the questions', async () => {
  const large = Array.from({ length: 4 }, (_, at) => rowOf(String(at), 4_000_000))
  billingAnswers(large, large, large, large, large, large)
  const answered = Promise.withResolvers<IncomingMessage>()
  const left = closeOfConnection()
  const request = get(url, answered.resolve)
  request.on('error', () => {})
  const response = await answered.promise
  const asked = questions.length
  assert.ok(asked < 6)
  response.destroy()
  await left
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(questions.length <= asked + 1 && questions.length < 6)
})

test('a key is asked for by its hash, the master key by its name, and neither travels', async () => {
  const key = 'sk-secret-of-somebody'
  const hash = `hash:${secret.digestOf(key).toString('hex')}`
  for (const [given, asked] of [
    [key, hash],
    ['sk-master', 'master'],
    ['key_2', 'key_2'],
  ]) {
    questions = []
    billingAnswers([rowOf('a')])
    await (await fetch(`${url}?api_key=${given}`)).json()
    assert.partialDeepStrictEqual(questions, [{ api_key: asked, actor }])
    questions = []
    fake.onRequest = async (_subject, question) => {
      questions.push(question as Record<string, unknown>)
      return { days: [], nextStart: null }
    }
    const period = 'start_date=2026-01-01&end_date=2026-01-02'
    await (await fetch(`${url}?api_key=${given}&${period}`)).json()
    assert.partialDeepStrictEqual(questions, [{ api_key: asked, actor }])
  }
})

test('a list in CSV that cannot be finished breaks off, too', async () => {
  billingAnswers([rowOf('a')], 'fails')
  await assert.rejects(fetch(`${url}?format=csv`).then((response) => response.text()))
})

/** Resolves when the server has lost its next connection, however that ended. */
async function closeOfConnection(): Promise<void> {
  const [socket]: Socket[] = await once(server, 'connection')
  await new Promise<void>((resolve) => socket?.once('close', () => resolve()))
}

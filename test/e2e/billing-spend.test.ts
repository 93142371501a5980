// What /spend/logs is answered from, on a real PostgreSQL: rows, filters and pages.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { spendLogs } from '@penstock/billing-service/spend-logs'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { spendLogRow, spendLogsQuery } from '@penstock/shared/contracts/spend'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { z } from 'zod'
import { startDatabases } from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>
type TestDatabase = Awaited<ReturnType<typeof databases.create>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

async function databaseWith(events: UsageEvent[]): Promise<TestDatabase> {
  const database = await databases.create()
  await recordUsage(database.db, events)
  return database
}

const nobody = usageEventOf().caller
const actor = { role: 'master', keyId: 'master', userId: null, teamId: null }
const at = (iso: string) => Date.parse(iso)

async function page({ db }: TestDatabase, query: Record<string, unknown>) {
  const { answer, body } = await spendLogs(db, spendLogsQuery.parse({ actor, ...query }))
  const rows = z.array(spendLogRow).parse(JSON.parse(`[${body}]`))
  assert.equal(answer.rows, rows.length)
  return { rows, nextCursor: answer.nextCursor }
}

async function idsOf(database: TestDatabase, query: Record<string, unknown>) {
  return (await page(database, query)).rows.map((row) => row.request_id)
}

test("a row has LiteLLM's fields, and ours beside them", async () => {
  const database = await databaseWith([
    usageEventOf({
      caller: { keyId: 'hash-1', userId: 'user-1', teamId: 'team-1', endUser: 'end-1' },
      tags: ['a', 'b'],
      sessionId: 'session-1',
      usage: tokens(1_000, 200, { cachedPromptTokens: 400, estimated: true }),
    }),
  ])
  const { rows, nextCursor } = await page(database, {})
  assert.equal(nextCursor, null)
  assert.deepEqual(rows, [
    {
      request_id: 'req-1',
      call_type: 'acompletion',
      api_key: 'hash-1',
      spend: 0.004,
      total_tokens: 1_200,
      prompt_tokens: 1_000,
      completion_tokens: 200,
      startTime: '2026-05-20T12:00:00.000Z',
      endTime: '2026-05-20T12:00:01.510Z',
      completionStartTime: '2026-05-20T12:00:00.200Z',
      request_duration_ms: 1_510,
      model: 'gpt-4o',
      model_id: 'deployment-1',
      model_group: 'smart',
      custom_llm_provider: 'openai',
      api_base: 'https://api.openai.com/v1',
      user: 'user-1',
      team_id: 'team-1',
      end_user: 'end-1',
      request_tags: ['a', 'b'],
      session_id: 'session-1',
      status: 'success',
      metadata: {
        stream: true,
        requested_model: 'smart',
        attempt_started_at: '2026-05-20T12:00:00.010Z',
        worker_id: 'worker-1',
        traceparent: null,
        usage_object: {
          prompt_tokens_details: { cached_tokens: 400, cache_creation_tokens: 0, audio_tokens: 0 },
          completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
        },
      },
      attempt: 1,
      correlation_id: 'corr-1',
      spend_usd: '0.004',
      cost_source: 'price-table',
      usage_estimated: true,
      error: null,
    },
  ])
  await database.close()
})

test('a failed attempt says what went wrong, and unknown ids are empty', async () => {
  const { info } = new PenstockError('upstream_timeout', 'The upstream did not answer.')
  const database = await databaseWith([
    usageEventOf({ status: 'failure', error: info, firstTokenAt: null, usage: tokens(0, 0) }),
  ])
  const [row] = (await page(database, {})).rows
  assert.partialDeepStrictEqual(row, { api_key: '', user: '', team_id: '', end_user: '' })
  assert.partialDeepStrictEqual(row, { status: 'failure', completionStartTime: null, spend: 0 })
  assert.deepEqual(row?.error, info)
  await database.close()
})

test('filters hold together, newest first', async () => {
  const event = (id: string, keyId: string, userId: string, day: string) =>
    usageEventOf({ requestId: id, caller: { ...nobody, keyId, userId }, receivedAt: at(day) })
  const database = await databaseWith([
    event('a', 'k1', 'u1', '2026-05-01T00:00:00Z'),
    event('b', 'k1', 'u2', '2026-05-02T23:59:59.999Z'),
    event('c', 'k2', 'u1', '2026-05-03T00:00:00Z'),
    event('d', 'k2', 'u2', '2026-05-04T12:00:00Z'),
  ])
  const cases: [Record<string, unknown>, string[]][] = [
    [{}, ['d', 'c', 'b', 'a']],
    [{ api_key: 'k1' }, ['b', 'a']],
    [{ user_id: 'u1' }, ['c', 'a']],
    [{ api_key: 'k1', user_id: 'u1' }, ['a']],
    [{ request_id: 'c' }, ['c']],
    [{ request_id: 'c', api_key: 'k1' }, []],
    [{ start_date: '2026-05-02', end_date: '2026-05-02' }, ['b']],
    [{ end_date: '2026-05-02' }, ['b', 'a']],
    [{ start_date: '2026-05-03' }, ['d', 'c']],
    [{ start_date: '2026-05-03T00:00:00Z', end_date: '2026-05-04T12:00:00Z' }, ['d', 'c']],
    [{ end_date: '2026-05-04T11:59:59Z' }, ['c', 'b', 'a']],
    [{ start_date: '2026-05-04T13:00:00+02:00' }, ['d']],
  ]
  for (const [query, expected] of cases) {
    assert.deepEqual(await idsOf(database, query), expected, JSON.stringify(query))
  }
  await database.close()
})

test('pages of rows of one and the same time give each row once', async () => {
  const ids = Array.from({ length: 25 }, (_, i) => `req-${String(i).padStart(2, '0')}`)
  const caller = { ...nobody, keyId: 'k1' }
  const database = await databaseWith(ids.map((requestId) => usageEventOf({ requestId, caller })))
  const seen: string[] = []
  let cursor: string | undefined
  for (let pages = 0; pages < 20; pages++) {
    const { rows, nextCursor } = await page(database, { api_key: 'k1', limit: 4, cursor })
    seen.push(...rows.map((row) => row.request_id))
    if (nextCursor === null) break
    cursor = nextCursor
    const later = usageEventOf().receivedAt + pages + 1
    const newer = usageEventOf({ requestId: `new-${pages}`, caller, receivedAt: later })
    await recordUsage(database.db, [newer])
  }
  assert.deepEqual(seen, ids.toReversed())
  await database.close()
})

test('a page of the longest possible rows still fits into one message', async () => {
  const long = '\u{1F600}'.repeat(10_000)
  const events = Array.from({ length: 300 }, (_, i) =>
    usageEventOf({
      requestId: `req-${i}`,
      caller: { keyId: long, userId: long, teamId: long, endUser: long },
      sessionId: long,
      tags: Array.from({ length: 50 }, () => long),
    }),
  )
  const database = await databaseWith(events)
  const seen = new Set<string>()
  let cursor: string | undefined
  for (let pages = 0; pages < 300; pages++) {
    const answer = await page(database, { limit: 500, cursor })
    assert.ok(Buffer.byteLength(JSON.stringify(answer)) < 1_000_000)
    for (const row of answer.rows) seen.add(row.request_id)
    if (answer.nextCursor === null) break
    cursor = answer.nextCursor
  }
  assert.equal(seen.size, 300)
  await database.close()
})

test('a cursor that is none of ours is refused', async () => {
  const database = await databaseWith([])
  for (const cursor of ['x', '', Buffer.from('[1e300,"a",1]').toString('base64url')]) {
    await assert.rejects(page(database, { cursor }), { code: 'invalid_request' })
  }
  await database.close()
})

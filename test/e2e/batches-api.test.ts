// Batches as the API shows them, without anybody who runs them: made, listed, paused, cancelled, and what
// is refused; the operator's board; and files and batches without their database.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { finalizeBatch } from '@penstock/gateway/batch/engine/finalize'
import { openDiskStorage } from '@penstock/gateway/batch/storage/disk-storage'
import { openBatchDatabase } from '@penstock/gateway/batch/store/database'
import { startGateway } from '@penstock/gateway/start-gateway'
import { sql } from 'kysely'
import OpenAI, { toFile } from 'openai'
import { fetch } from 'undici'
import { errorOf } from '../harness/answers.ts'
import { createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys } from '../harness/keys.ts'
import { type Servers, silent, startServers } from '../harness/servers.ts'
import { type Stack, startStack, testSecret } from '../harness/stack.ts'

const masterKey = 'sk-1234'

let servers: Servers
let stack: Stack
let openai: OpenAI

before(async () => {
  servers = await startServers()
  stack = await startStack({
    servers,
    config: {
      model_list: [{ model_name: 'a', litellm_params: { model: 'sim/lorem' } }],
      general_settings: { master_key: masterKey },
    },
  })
  openai = new OpenAI({ apiKey: masterKey, baseURL: `${stack.url}/v1`, maxRetries: 0 })
})
after(async () => {
  await stack.close()
  await servers.close()
})

async function upload(purpose: OpenAI.FilePurpose = 'batch'): Promise<string> {
  const file = await toFile(Buffer.from('{}\n'), 'lines.jsonl')
  return (await openai.files.create({ file, purpose })).id
}

describe('a batch', () => {
  const endpoint = '/v1/chat/completions' as const
  const completion_window = '24h' as const
  const post = (path: string, body: object = {}) => stack.client.post(`/v1/batches${path}`, body)

  test('is made, listed, paused, resumed and cancelled', async () => {
    const input_file_id = await upload()
    const made: string[] = []
    for (const night of ['1', '2', '3']) {
      const asked = { input_file_id, endpoint, completion_window, metadata: { night } }
      const batch = await openai.batches.create(asked)
      assert.partialDeepStrictEqual(batch, { object: 'batch', status: 'validating', ...asked })
      assert.equal((batch.expires_at ?? 0) - batch.created_at, 86_400)
      assert.deepEqual(await openai.batches.retrieve(batch.id), batch)
      made.push(batch.id)
    }
    const listed: string[] = []
    for await (const { id } of openai.batches.list({ limit: 2 })) listed.push(id)
    assert.deepEqual(listed, made.toReversed())

    const [id = ''] = made
    assert.partialDeepStrictEqual((await post(`/${id}/pause`)).json, { paused: true })
    assert.partialDeepStrictEqual((await post(`/${id}/resume`)).json, { paused: false })
    assert.equal((await openai.batches.cancel(id)).status, 'cancelling')
    assert.equal((await openai.batches.cancel(id)).status, 'cancelling', 'asked twice')
    assert.equal((await post(`/${id}/pause`)).status, 409)
    assert.deepEqual((await stack.client.get(`/v1/batches/${id}/dead_letters`)).json, {
      object: 'list',
      data: [],
      has_more: false,
    })

    // A file that is read is kept.
    await assert.rejects(openai.files.delete(input_file_id), OpenAI.ConflictError)
    await sql`delete from batch`.execute(servers.db)
  })

  test('has its dead letters listed page by page, and put back in one call', async () => {
    const asked = { input_file_id: await upload(), endpoint, completion_window }
    const { id } = await openai.batches.create(asked)
    assert.equal((await post(`/${id}/retry`)).status, 409, 'nothing of it was tried yet')
    // Two slices of three lines: lines 2 and 3 are dead, line 5 failed for good.
    const letter = (line: number) => JSON.stringify({ custom_id: `line-${line}`, response: null })
    await sql`insert into batch_slice
      (batch_id, slice, first_line, lines, byte_offset, byte_length, done)
      values (${id}, 0, 1, 3, 0, 30, true), (${id}, 1, 4, 3, 30, 30, true)`.execute(servers.db)
    for (const line of [1, 2, 3, 4, 5, 6]) {
      const isDead = line === 2 || line === 3
      await sql`insert into batch_result (batch_id, line_number, ok, dead, attempts, line)
        values (${id}, ${line}, ${!isDead && line !== 5}, ${isDead}, 5, ${letter(line)})`.execute(
        servers.db,
      )
    }
    await sql`update batch set status = 'completed', total = 6, completed = 3, failed = 3,
      completed_at = now(), expires_at = now() where batch_id = ${id}`.execute(servers.db)

    const listed = async (query: string) => {
      const { json } = await stack.client.get(`/v1/batches/${id}/dead_letters${query}`)
      return json
    }
    const second = { object: 'batch.dead_letter', line: 2, attempts: 5, custom_id: 'line-2' }
    assert.partialDeepStrictEqual(await listed('?limit=1'), { data: [second], has_more: true })
    const third = { line: 3, custom_id: 'line-3' }
    assert.partialDeepStrictEqual(await listed('?after=2'), { data: [third], has_more: false })

    // Lines are read from the input: without it they would be in neither file.
    const state = (to: string) =>
      sql`update batch_file set state = ${to} where file_id = ${asked.input_file_id}`.execute(
        servers.db,
      )
    await state('removing')
    assert.equal((await post(`/${id}/retry`)).status, 409)
    assert.partialDeepStrictEqual(await listed('?limit=1'), { data: [second] })
    await state('ready')

    const { status, json } = await post(`/${id}/retry`)
    assert.equal(status, 200)
    const request_counts = { total: 6, completed: 3, failed: 1 }
    const reopened = { status: 'in_progress', completed_at: null, request_counts, redriven: 2 }
    assert.partialDeepStrictEqual(json, reopened)
    const left = Number((json as { expires_at: number }).expires_at) - Date.now() / 1_000
    assert.ok(left > 86_000, 'its window begins anew')
    const { rows } = await sql<{ done: boolean; lines: number[] }>`
      select done, (select array_agg(line_number order by line_number) from batch_result r
        where r.batch_id = s.batch_id) lines
      from batch_slice s where batch_id = ${id} order by slice`.execute(servers.db)
    assert.deepEqual(
      rows.map(({ done }) => done),
      [false, true],
    )
    assert.deepEqual(rows[0]?.lines, [1, 4, 5, 6])
    assert.partialDeepStrictEqual((await post(`/${id}/retry`)).json, { redriven: 0 })
    await sql`delete from batch`.execute(servers.db)
  })

  test('does not end while lines of it are put back', async () => {
    const asked = { input_file_id: await upload(), endpoint, completion_window }
    const { id } = await openai.batches.create(asked)
    await sql`insert into batch_slice
      (batch_id, slice, first_line, lines, byte_offset, byte_length, done)
      values (${id}, 0, 1, 2, 0, 30, true)`.execute(servers.db)
    await sql`insert into batch_result (batch_id, line_number, ok, dead, attempts, line)
      values (${id}, 1, true, false, 1, '{}'), (${id}, 2, false, true, 5, '{}')`.execute(servers.db)
    await sql`update batch set status = 'in_progress', total = 2, completed = 1, failed = 1
      where batch_id = ${id}`.execute(servers.db)
    const blocked = (count: number) =>
      eventually(`${count} blocked`, async () => {
        const { rows } = await sql`select pid from pg_stat_activity
          where wait_event_type = 'Lock'`.execute(servers.db)
        return rows.length === count
      })
    const { databaseUrl, directory } = servers
    const db = openBatchDatabase({ databaseUrl, max: 2, statementTimeoutMs: 20_000 })
    const storage = await openDiskStorage(join(directory, 'files'))
    const held = Promise.withResolvers<void>()
    const holding = servers.db.transaction().execute(async (trx) => {
      await sql`select from batch_slice for update`.execute(trx)
      await held.promise
    })
    // The batch is locked and its dead line is gone, which nobody else sees yet.
    const retrying = post(`/${id}/retry`)
    await blocked(1)
    const ending = finalizeBatch({ db, storage, log: silent }, id)
    await blocked(2)
    held.resolve()
    const [retried] = await Promise.all([retrying, ending, holding])
    assert.partialDeepStrictEqual(retried.json, { status: 'in_progress', redriven: 1 })
    const batch = await openai.batches.retrieve(id)
    assert.equal(batch.status, 'in_progress')
    assert.equal(batch.output_file_id, null)
    await db.destroy()
    await sql`delete from batch`.execute(servers.db)
  })

  test('that was redriven is not ended by who began to end it before', async () => {
    const asked = { input_file_id: await upload(), endpoint, completion_window }
    const { id } = await openai.batches.create(asked)
    await sql`insert into batch_result (batch_id, line_number, ok, dead, attempts, line)
      values (${id}, 1, false, true, 5, '{}')`.execute(servers.db)
    await sql`update batch set status = 'finalizing', finalizing_at = now(), total = 1, failed = 1
      where batch_id = ${id}`.execute(servers.db)
    const { databaseUrl, directory } = servers
    const db = openBatchDatabase({ databaseUrl, max: 2, statementTimeoutMs: 20_000 })
    const disk = await openDiskStorage(join(directory, 'files'))
    const storage: typeof disk = {
      ...disk,
      async put(...args) {
        // Others were quicker, and are about to end it a second time.
        await sql`update batch set finalizing_at = now() + interval '1 s'`.execute(servers.db)
        return disk.put(...args)
      },
    }
    await finalizeBatch({ db, storage, log: silent }, id)
    const { status, error_file_id } = await openai.batches.retrieve(id)
    assert.deepEqual([status, error_file_id], ['finalizing', null])
    await finalizeBatch({ db, storage: disk, log: silent }, id)
    assert.equal((await openai.batches.retrieve(id)).status, 'completed')
    await db.destroy()
    await sql`delete from batch`.execute(servers.db)
  })

  test('that makes no sense is refused, naming the field', async () => {
    const id = await upload()
    const other = await upload('user_data')
    const good = { input_file_id: id, endpoint }
    const metadata = Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`k${at}`, 'v']))
    const cases: [field: string, body: object][] = [
      ['input_file_id', { endpoint }],
      ['input_file_id', { ...good, input_file_id: 'file-none' }],
      ['input_file_id', { ...good, input_file_id: other }],
      ['endpoint', { ...good, endpoint: '/v1/files' }],
      ['completion_window', { ...good, completion_window: 'soon' }],
      ['metadata', { ...good, metadata }],
      ['metadata', { ...good, metadata: { night: 'zero \0 byte' } }],
      ['metadata', { ...good, metadata: { night: 'half \ud800' } }],
      ['window', { ...good, window: '22:00-06:00 Europe/Nowhere' }],
      ['window', { ...good, window: '25:00-06:00' }],
      ['not_before', { ...good, not_before: Math.floor(Date.now() / 1_000) + 90_000 }],
      ['not_before', { ...good, not_before: Number.MAX_SAFE_INTEGER }],
      ['not_before', { ...good, not_before: 'tonight' }],
    ]
    for (const [field, body] of cases) {
      const answer = await post('', body)
      assert.equal(answer.status, 400, answer.text)
      assert.equal(errorOf(answer).param, field, answer.text)
    }
  })
})

describe('batches that have not ended', () => {
  const asked = { endpoint: '/v1/chat/completions', completion_window: '24h' } as const
  const crowd = (keyId: string, count: number) =>
    sql`
    insert into batch (batch_id, key_id, by_admin, status, endpoint, input_file_id,
      completion_window, correlation_id, expires_at)
    select 'batch_' || ${keyId}::text || n, ${keyId}, false, 'validating', ${asked.endpoint},
      'file-none', '24h', '', now() + interval '1 day' from generate_series(1, ${count}) n`.execute(
      servers.db,
    )

  test('are bounded: those of one key, and all together', async () => {
    const keys = await createKeys(stack.client, [stack.url])
    const [one, other] = [await keys.make({}), await keys.make({})]
    const create = async (apiKey: string) => {
      const client = new OpenAI({ apiKey, baseURL: `${stack.url}/v1`, maxRetries: 0 })
      const file = await toFile(Buffer.from('{}\n'), 'lines.jsonl')
      const { id } = await client.files.create({ file, purpose: 'batch' })
      return client.batches.create({ ...asked, input_file_id: id })
    }
    await crowd(one.id, 1_000)
    await assert.rejects(create(one.key), OpenAI.RateLimitError)
    await create(other.key)
    await crowd('others', 9_000)
    await assert.rejects(create(other.key), OpenAI.RateLimitError)
    await sql`delete from batch`.execute(servers.db)
    await create(one.key)
    await sql`delete from batch`.execute(servers.db)
    await keys.close()
  })
})

test('an id with a zero byte is refused', async () => {
  for (const path of [
    '/files/%00',
    '/batches/%00',
    '/batches?after=%00',
    '/messages/batches/%00',
  ]) {
    const { status, text } = await stack.client.get(`/v1${path}`)
    assert.ok(status === 400 || status === 404, `${path}: ${text}`)
  }
})

test('the queue board is for the master key, which a browser sends as a password', async () => {
  const path = `${stack.url}/admin/queues`
  const as = (headers: Record<string, string>, method = 'GET') => fetch(path, { method, headers })
  const none = await as({})
  assert.equal(none.status, 401)
  assert.match(none.headers.get('www-authenticate') ?? '', /^Basic/)
  const password = `Basic ${Buffer.from(`operator:${masterKey}`).toString('base64')}`
  const page = await as({ authorization: password })
  assert.equal(page.status, 200)
  assert.match(await page.text(), /<title>[^<]*Penstock/)
  const queues = await fetch(`${path}/api/queues`, { headers: { authorization: password } })
  assert.match(await queues.text(), /"name":"penstock-batch"/)
  const foreign = { authorization: password, 'sec-fetch-site': 'cross-site' }
  assert.equal((await as(foreign, 'POST')).status, 403)
})

test('a gateway that has no database says what to set', async () => {
  const { natsUrl } = servers
  const place = { host: '127.0.0.1', port: 0, secret: testSecret, log: silent }
  const gateway = await startGateway({ config: stack.config, natsUrl, ...place })
  const client = createClient(gateway.url, masterKey)
  try {
    for (const path of ['/v1/files', '/v1/batches', '/admin/queues']) {
      const answer = await client.get(path)
      assert.equal(answer.status, 503)
      assert.match(errorOf(answer).message, /set DATABASE_URL/)
    }
  } finally {
    await client.close()
    await gateway.close()
  }
})

// The last one.
test('without its database it says so, and goes on when it is back', async () => {
  await servers.postgres.stop()
  const answer = await stack.client.get('/v1/files')
  assert.equal(answer.status, 503)
  assert.match(errorOf(answer).message, /database of files and batches/)
  await servers.postgres.start()
  assert.equal((await stack.client.get('/v1/files')).status, 200)
})

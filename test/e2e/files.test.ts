// Files as the openai SDK and others handle them: uploaded and read in streams, whole and by range, gone
// when they expire or are deleted; whatever goes wrong is a clear error and leaves nothing behind.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, afterEach, before, describe, test } from 'node:test'
import { sweepFiles } from '@penstock/gateway/batch/remove-files'
import { openDiskStorage } from '@penstock/gateway/batch/storage/disk-storage'
import { type Storage, storageFault } from '@penstock/gateway/batch/storage/storage'
import { openBatchDatabase } from '@penstock/gateway/batch/store/database'
import { sql } from 'kysely'
import OpenAI, { toFile } from 'openai'
import { fetch } from 'undici'
import { errorOf } from '../harness/answers.ts'
import { eventually } from '../harness/eventually.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'
import { uploadOf } from './access-routes.ts'

const masterKey = 'sk-1234'
const authorization = `Bearer ${masterKey}`

let servers: Servers
let stack: Stack
let openai: OpenAI
let directory: string
let disk: Storage
/** What the disk does from now on. */
let isFull = false

before(async () => {
  servers = await startServers()
  directory = join(servers.directory, 'uploads')
  disk = await openDiskStorage(directory)
  const storage: Storage = {
    ...disk,
    put: (key, source, options) => disk.put(key, isFull ? fullAfter(source) : source, options),
  }
  stack = await startStack({
    servers,
    storage,
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
afterEach(async () => {
  isFull = false
  for await (const { id } of openai.files.list()) await openai.files.delete(id)
  await nothingLeft()
})

async function* fullAfter(source: AsyncIterable<Uint8Array>) {
  for await (const chunk of source) {
    yield chunk
    throw storageFault(true, new Error('ENOSPC'))
  }
}

/** Neither a row nor a byte. */
async function nothingLeft() {
  const { rows } = await sql`select file_id, state from batch_file`.execute(servers.db)
  const names = await readdir(directory, { recursive: true })
  assert.deepEqual({ rows, names }, { rows: [], names: ['.partial'] })
}

const upload = (content: string, fields: Partial<OpenAI.FileCreateParams> = {}) =>
  toFile(Buffer.from(content), 'lines.jsonl').then((file) =>
    openai.files.create({ file, purpose: 'batch', ...fields }),
  )

describe('the openai SDK', () => {
  test('uploads a file, finds it, reads it and deletes it', async () => {
    const content = '{"custom_id": "größe"}\n'.repeat(10_000)
    const created = await upload(content)
    assert.partialDeepStrictEqual(created, {
      object: 'file',
      bytes: Buffer.byteLength(content),
      filename: 'lines.jsonl',
      purpose: 'batch',
      expires_at: null,
    })
    assert.deepEqual(await openai.files.retrieve(created.id), created)
    assert.equal(await (await openai.files.content(created.id)).text(), content)
    assert.deepEqual(await openai.files.delete(created.id), {
      id: created.id,
      object: 'file',
      deleted: true,
    })
    await assert.rejects(openai.files.retrieve(created.id), OpenAI.NotFoundError)
    await assert.rejects(openai.files.content(created.id), OpenAI.NotFoundError)
  })

  test('lists files page by page, in either order, by purpose', async () => {
    const ids: string[] = []
    for (const purpose of ['batch', 'user_data', 'batch', 'batch'] as const) {
      ids.push((await upload('x', { purpose })).id)
    }
    const listed: string[] = []
    for await (const { id } of openai.files.list({ limit: 2, order: 'asc' })) listed.push(id)
    assert.deepEqual(listed, ids)
    const newest = await openai.files.list({ limit: 3 })
    assert.deepEqual(
      newest.data.map(({ id }) => id),
      ids.toReversed().slice(0, 3),
    )
    assert.equal(newest.has_more, true)
    const { data } = await openai.files.list({ purpose: 'user_data' })
    assert.deepEqual(
      data.map(({ id }) => id),
      ids.slice(1, 2),
    )
  })

  test('has a file expire, which the sweep then removes', async () => {
    const anchor = 'created_at' as const
    const kept = await upload('kept')
    const { id, created_at, expires_at } = await upload('x', {
      expires_after: { anchor, seconds: 3_600 },
    })
    assert.ok(Math.abs((expires_at ?? 0) - created_at - 3_600) <= 1)
    const { databaseUrl } = servers
    const db = openBatchDatabase({ databaseUrl, max: 1, statementTimeoutMs: 5_000 })
    try {
      assert.equal(await sweepFiles({ db, storage: disk }), 0)
      await sql`update batch_file set expires_at = now() where file_id = ${id}`.execute(servers.db)
      // Gone for everybody before any sweep.
      await assert.rejects(openai.files.retrieve(id), OpenAI.NotFoundError)
      assert.equal(await sweepFiles({ db, storage: disk }), 1)
      assert.equal(await disk.size(id), null)

      // What a crash left: a row whose bytes came or not.
      await sql`update batch_file set state = 'writing'`.execute(servers.db)
      assert.equal(await sweepFiles({ db, storage: disk }), 0)
      assert.equal(await sweepFiles({ db, storage: disk }, Date.now() + 7 * 3_600_000), 1)
      assert.equal(await disk.size(kept.id), null)
      await nothingLeft()
    } finally {
      await db.destroy()
    }
  })
})

test('a range is answered with 206, one beyond the end with 416', async () => {
  const { id } = await upload('0123456789')
  const ranged = async (range: string, method = 'GET') => {
    const path = `/v1/files/${id}/content`
    return stack.client.get(path, { method, headers: { range } })
  }
  for (const [range, content, answered] of [
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=-1', '9', 'bytes 9-9/10'],
  ] as const) {
    const answer = await ranged(range)
    assert.equal(answer.status, 206)
    assert.equal(answer.text, content)
    assert.equal(answer.headers.get('content-range'), answered)
    assert.equal(answer.headers.get('content-length'), String(content.length))
  }
  const beyond = await ranged('bytes=10-')
  assert.equal(beyond.status, 416)
  assert.equal(beyond.headers.get('content-range'), 'bytes */10')
  assert.match(errorOf(beyond).message, /10 bytes/)
  assert.equal((await ranged('bytes=0-1,3-4')).text, '0123456789')
  const head = await ranged('', 'HEAD')
  assert.deepEqual([head.status, head.text], [200, ''])
  assert.equal(head.headers.get('content-length'), '10')
  assert.match(head.headers.get('content-disposition') ?? '', /attachment; filename=lines\.jsonl/)
})

describe('a file that is too large', () => {
  const form = uploadOf('')
  const opening = form.body.slice(0, form.body.indexOf('\r\n--edge--'))
  const megabyte = Buffer.alloc(1_000_000, 'x')

  test('is refused while it is uploaded, and its client gets to see why', async () => {
    let sent = 0
    const body = async function* () {
      yield Buffer.from(opening)
      for (; sent < 201; sent++) yield megabyte
      yield Buffer.from('\r\n--edge--\r\n')
    }
    const headers = { ...form.headers, authorization }
    const options = { method: 'POST', headers, body: body(), duplex: 'half' as const }
    const response = await fetch(`${stack.url}/v1/files`, options)
    assert.equal(response.status, 413)
    assert.match(await response.text(), /larger than 200 MB/)
    assert.ok(sent >= 200)
    await nothingLeft()
  })

  test('is refused at once where it says how large it is', async () => {
    const call = request(`${stack.url}/v1/files`, {
      method: 'POST',
      headers: { ...form.headers, authorization, 'content-length': 10_000_000_000 },
      agent: false,
    })
    call.on('error', () => {})
    call.write(opening)
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 413)
    assert.match(await text(response), /larger than 200 MB/)
    call.destroy()
  })
})

test('an upload that breaks off leaves nothing behind', async () => {
  const { body, headers } = uploadOf('x'.repeat(1_000_000))
  const call = request(`${stack.url}/v1/files`, {
    method: 'POST',
    headers: { ...headers, authorization, 'content-length': body.length },
    agent: false,
  })
  call.on('error', () => {})
  call.write(body.slice(0, 500_000))
  const partial = join(directory, '.partial')
  await eventually('its first bytes', async () => (await readdir(partial)).length > 0)
  call.destroy()
  const isGone = () =>
    nothingLeft().then(
      () => true,
      () => false,
    )
  await eventually('its end', isGone)
})

test('a disk that is full is a 507, and leaves nothing behind', async () => {
  isFull = true
  const { body, headers } = uploadOf('x'.repeat(1_000_000))
  const answer = await stack.client.post('/v1/files', body, { headers })
  assert.equal(answer.status, 507)
  assert.match(errorOf(answer).message, /no space left/)
  await nothingLeft()
})

describe('an upload that makes no sense', () => {
  const { headers } = uploadOf('')
  const part = (disposition: string, value: string) =>
    `--edge\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`
  const file = (content: string) => part('name="file"; filename="a.jsonl"', content)
  const purpose = part('name="purpose"', 'batch')
  const end = '--edge--\r\n'
  const cases: [what: string, body: string, reason: RegExp][] = [
    ['an empty file', `${purpose}${file('')}${end}`, /file is empty/],
    ['no purpose', `${file('x')}${end}`, /purpose/],
    ['another purpose', `${part('name="purpose"', 'fun')}${file('x')}${end}`, /one of batch/],
    [
      'an odd expiry',
      `${purpose}${file('x')}${part('name="expires_after[seconds]"', '5')}${end}`,
      /expires_after/,
    ],
    [
      'half an expiry',
      `${purpose}${file('x')}${part('name="expires_after[seconds]"', '7200')}${end}`,
      /anchor/,
    ],
  ]
  for (const [what, body, reason] of cases) {
    test(`${what}: 400`, async () => {
      const answer = await stack.client.post('/v1/files', body, { headers })
      assert.match(errorOf(answer).message, reason)
      assert.equal(answer.status, 400)
      await nothingLeft()
    })
  }

  test('no form: 415', async () => {
    const answer = await stack.client.post('/v1/files', { purpose: 'batch' })
    assert.equal(answer.status, 415)
  })

  test('the file first and its purpose after it is fine', async () => {
    const answer = await stack.client.post('/v1/files', `${file('x')}${purpose}${end}`, { headers })
    assert.equal(answer.status, 200, answer.text)
  })
})

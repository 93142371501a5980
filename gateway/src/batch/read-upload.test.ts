import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { readUpload, type Upload } from './read-upload.ts'

type Store = (file: Readable) => Promise<number>

let server: Server
/** What became of the request under way. */
let onUpload: (upload: Promise<Upload>) => void
let store: Store

before(async () => {
  server = createServer((req, res) => {
    const upload = readUpload(req, store)
    onUpload(upload)
    upload.catch(() => {}).finally(() => res.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => {
  server.close()
  server.closeAllConnections()
})

const keep: Store = async (file) => Buffer.byteLength(await text(file))

function start(contentType: string, contentLength: number, storing: Store) {
  store = storing
  const { port } = server.address() as AddressInfo
  const headers = { 'content-type': contentType, 'content-length': contentLength }
  const call = request({ host: '127.0.0.1', port, method: 'POST', headers, agent: false })
  call.on('error', () => {})
  call.on('response', (response: IncomingMessage) => response.resume())
  const upload = new Promise<Upload>((resolve) => {
    onUpload = resolve
  })
  upload.catch(() => {})
  return { call, upload }
}

function send(body: string, contentType = 'multipart/form-data; boundary=edge', storing = keep) {
  const { call, upload } = start(contentType, Buffer.byteLength(body), storing)
  call.end(body)
  return upload
}

const part = (disposition: string, value: string) =>
  `--edge\r\ncontent-disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`
const file = (content: string) => part('name="file"; filename="größe.jsonl"', content)
const purpose = part('name="purpose"', 'batch')
const end = '--edge--\r\n'

test('a file and its fields are read, whichever comes first', async () => {
  for (const body of [`${purpose}${file('x\r\ny')}${end}`, `${file('x\r\ny')}${purpose}${end}`]) {
    assert.deepEqual(await send(body), {
      fields: { purpose: 'batch' },
      entries: [['purpose', 'batch']],
      filename: 'größe.jsonl',
      contentType: 'text/plain',
      bytes: 4,
    })
  }
})

describe('a form that makes no sense is refused:', () => {
  const cases: [what: string, body: string, reason: RegExp][] = [
    ['no file', `${purpose}${end}`, /no file/],
    ['two files', `${file('x')}${file('y')}${end}`, /more parts than one file/],
    ['too many fields', `${purpose.repeat(21)}${file('x')}${end}`, /more parts than one file/],
    ['a file by another name', `${part('name="f"; filename="a"', 'x')}${end}`, /`file`/],
    ['a long field', `${part('name="a"', 'b'.repeat(5_000))}${file('x')}${end}`, /a is too long/],
    ['no end', `${purpose}${file('x')}`, /broken or incomplete/],
    ['an end in the middle of the file', file('x'.repeat(50)).slice(0, -20), /incomplete/],
    ['nothing', '', /broken or incomplete/],
  ]
  for (const [what, body, message] of cases) {
    test(what, async () => {
      await assert.rejects(send(body), { code: 'invalid_request', message })
    })
  }

  test('no form', async () => {
    const isUnsupported = (error: unknown) =>
      error instanceof PenstockError && error.info.status === 415
    await assert.rejects(send('{}', 'application/json'), isUnsupported)
    await assert.rejects(send('{}', 'multipart/form-data'), { message: /no boundary/ })
  })
})

test('what the store fails with is the error, at once', async () => {
  const full = new PenstockError('service_unavailable', 'full', { status: 507 })
  const { call, upload } = start('multipart/form-data; boundary=edge', 1_000_000, async (one) => {
    for await (const _ of one) throw full
    return 0
  })
  // The rest never comes.
  call.write(file('x'.repeat(1_000)).slice(0, 900))
  await assert.rejects(upload, full)
  call.destroy()
})

test('a client that leaves fails the store, and is waited for no longer', async () => {
  let stored: Promise<number> | null = null
  const storing = Promise.withResolvers<void>()
  const { call, upload } = start('multipart/form-data; boundary=edge', 1_000_000, (one) => {
    stored = keep(one)
    storing.resolve()
    return stored
  })
  call.write(file('x'.repeat(1_000)).slice(0, 900))
  await storing.promise
  call.destroy()
  await assert.rejects(upload, { code: 'client_closed_request' })
  assert.ok(stored !== null)
  await assert.rejects(stored)
})

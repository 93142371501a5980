// Files in S3, through the AWS SDK's real client.
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { after, before, beforeEach, test } from 'node:test'
import { openStorage, type Storage } from '@penstock/gateway/batch/storage/storage'
import { type FakeS3, startFakeS3 } from './s3.ts'

const megabyte = 1024 * 1024
const credentials = { AWS_ACCESS_KEY_ID: 'an-id', AWS_SECRET_ACCESS_KEY: 'a-secret' }
let s3: FakeS3
let storage: Storage

before(async () => {
  s3 = await startFakeS3()
  Object.assign(process.env, credentials)
  storage = await openStorage('s3://bucket/penstock/files', { AWS_ENDPOINT_URL: s3.url })
})
after(async () => {
  for (const name of Object.keys(credentials)) delete process.env[name]
  storage.close()
  await s3.close()
})
beforeEach(() => s3.refuse(null))

/** Megabytes of one letter each. */
async function* megabytes(count: number, failAfter = false) {
  for (let at = 0; at < count; at++) yield Buffer.alloc(megabyte, 97 + at)
  if (failAfter) throw new Error('the source broke')
}

test('a small file is one object under the prefix, read whole and by range', async () => {
  const source = megabytes(1)
  assert.equal(await storage.put('small', source, { maxBytes: megabyte }), megabyte)
  assert.deepEqual([...s3.objects.keys()], ['bucket/penstock/files/small'])
  assert.equal((await text(await storage.read('small'))).length, megabyte)
  assert.equal(await text(await storage.read('small', { start: 3, end: 6 })), 'aaa')
  assert.equal(await text(await storage.read('small', { start: 3, end: 3 })), '')
  assert.equal(await storage.size('small'), megabyte)
  await storage.remove('small')
  await storage.remove('small')
  assert.equal(s3.objects.size, 0)
  assert.equal(await storage.size('small'), null)
  await assert.rejects(storage.read('small'), { code: 'not_found' })
})

test('a large one goes up in parts and is whole', async () => {
  assert.equal(
    await storage.put('large', megabytes(20), { maxBytes: 20 * megabyte }),
    20 * megabyte,
  )
  const edge = { start: 8 * megabyte - 1, end: 8 * megabyte + 1 }
  assert.equal(await text(await storage.read('large', edge)), 'hi')
  assert.equal(await storage.size('large'), 20 * megabyte)
  assert.equal(s3.uploads.size, 0)
  await storage.remove('large')
})

test('what is too large, breaks off or is refused leaves neither object nor upload', async () => {
  const maxBytes = 20 * megabyte
  await assert.rejects(storage.put('a', megabytes(21), { maxBytes }), { code: 'request_too_large' })
  await assert.rejects(storage.put('a', megabytes(18, true), { maxBytes }), /the source broke/)
  s3.refuse(507)
  await assert.rejects(storage.put('a', megabytes(1), { maxBytes }), {
    code: 'service_unavailable',
    message: /no space left/,
  })
  s3.refuse(403)
  await assert.rejects(storage.put('a', megabytes(18), { maxBytes }), {
    code: 'service_unavailable',
    message: /storage of files cannot be used/,
  })
  assert.equal(s3.objects.size, 0)
  assert.equal(s3.uploads.size, 0)
})

test('the sweep aborts uploads that were begun before that moment', async () => {
  const started = await fetch(`${s3.url}/bucket/penstock/files/b?uploads`, { method: 'POST' })
  assert.equal(started.status, 200)
  await storage.sweep(Date.now() - 60_000)
  assert.equal(s3.uploads.size, 1)
  await storage.sweep(Date.now() + 60_000)
  assert.equal(s3.uploads.size, 0)
})

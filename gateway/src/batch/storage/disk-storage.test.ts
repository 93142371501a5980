import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, beforeEach, test } from 'node:test'
import { openDiskStorage } from './disk-storage.ts'
import { openStorage, type Storage } from './storage.ts'

const directories: string[] = []
let directory: string
let storage: Storage

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'penstock-files-')), 'files')
  directories.push(directory)
  storage = await openStorage(directory, {})
})
after(async () => {
  for (const one of directories) await rm(join(one, '..'), { recursive: true })
})

async function* chunks(...texts: string[]) {
  for (const one of texts) yield Buffer.from(one)
}

const left = async () => (await readdir(directory, { recursive: true })).sort()

test('what is put is read back, whole and by range, and replaced by what is put after it', async () => {
  assert.equal(await storage.put('a', chunks('hello', ' world'), { maxBytes: 11 }), 11)
  assert.equal(await text(await storage.read('a')), 'hello world')
  assert.equal(await text(await storage.read('a', { start: 2, end: 5 })), 'llo')
  assert.equal(await text(await storage.read('a', { start: 5, end: 5 })), '')
  assert.equal(await storage.size('a'), 11)
  await storage.put('a', chunks('again'), { maxBytes: 11 })
  assert.equal(await text(await storage.read('a')), 'again')
  assert.deepEqual(await left(), ['.partial', 'a'])
})

test('a put that fails leaves what was there before, and nothing else', async () => {
  await storage.put('a', chunks('before'), { maxBytes: 10 })
  await assert.rejects(storage.put('a', chunks('12345678901'), { maxBytes: 10 }), {
    code: 'request_too_large',
  })
  const broken = async function* () {
    yield Buffer.from('half of ')
    throw new Error('the source broke')
  }
  // The source's own error, not the disk's.
  await assert.rejects(storage.put('b', broken(), { maxBytes: 100 }), /the source broke/)
  assert.equal(await text(await storage.read('a')), 'before')
  assert.deepEqual(await left(), ['.partial', 'a'])
})

test('what is not there has no size, cannot be read, and may be removed', async () => {
  assert.equal(await storage.size('none'), null)
  await assert.rejects(storage.read('none'), { code: 'not_found' })
  await storage.put('a', chunks('x'), { maxBytes: 1 })
  await storage.remove('a')
  await storage.remove('a')
  assert.deepEqual(await left(), ['.partial'])
})

test('no key leads out of the directory', async () => {
  for (const key of ['../a', 'a/b', '.', '', '.partial']) {
    await assert.rejects(storage.read(key), { code: 'internal_error' })
    await assert.rejects(storage.put(key, chunks('x'), { maxBytes: 1 }), { code: 'internal_error' })
  }
})

test('files are readable by their owner alone', async () => {
  await storage.put('a', chunks('x'), { maxBytes: 1 })
  assert.equal((await stat(join(directory, 'a'))).mode & 0o777, 0o600)
  assert.equal((await stat(directory)).mode & 0o777, 0o700)
})

test('the sweep takes what was begun before that moment and never finished', async () => {
  for (const name of ['old', 'new']) await writeFile(join(directory, '.partial', name), 'half')
  await utimes(join(directory, '.partial', 'old'), 1_000, 1_000)
  await storage.put('a', chunks('x'), { maxBytes: 1 })
  await utimes(join(directory, 'a'), 1_000, 1_000)
  await storage.sweep(2_000_000)
  assert.deepEqual(await left(), ['.partial', '.partial/new', 'a'])
})

test('a directory that cannot be made is named', async () => {
  await storage.put('a', chunks('x'), { maxBytes: 1 })
  const below = join(directory, 'a', 'files')
  await assert.rejects(openDiskStorage(below), { message: new RegExp(`${below}.*ENOTDIR`) })
})

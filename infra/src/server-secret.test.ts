import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { serverSecret } from './server-secret.ts'
import { UsageError } from './settings.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-secret-'))
})
after(() => rm(folder, { recursive: true }))

test('it is made once, readable by its owner alone, also by several who start at once', async () => {
  const dataDir = join(folder, 'new')
  const all = await Promise.all(Array.from({ length: 8 }, () => serverSecret({}, dataDir)))
  const path = join(dataDir, 'secret')
  const secret = await readFile(path, 'utf8')
  assert.deepEqual(
    all,
    all.map(() => ({ secret, path })),
  )
  assert.match(secret, /^[0-9a-f]{48,}$/)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal((await stat(dataDir)).mode & 0o777, 0o700)
  assert.deepEqual(await readdir(dataDir), ['secret'])
  assert.deepEqual(await serverSecret({ PENSTOCK_SECRET: '' }, dataDir), { secret, path })
})

test('that of the environment wins, and nothing is written', async () => {
  const dataDir = join(folder, 'unused')
  const PENSTOCK_SECRET = 'a secret of one own'
  const found = await serverSecret({ PENSTOCK_SECRET }, dataDir)
  assert.deepEqual(found, { secret: PENSTOCK_SECRET, path: null })
  await assert.rejects(stat(dataDir))
})

test('one that can be guessed is refused, without being repeated', async () => {
  const isRefusal = (error: unknown) =>
    error instanceof UsageError && /^PENSTOCK_SECRET /.test(error.message)
  await assert.rejects(serverSecret({ PENSTOCK_SECRET: 'hunter2' }, folder), (error) => {
    return isRefusal(error) && error instanceof Error && !error.message.includes('hunter2')
  })
})

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startService } from './service-process.ts'

test('a service whose pid file cannot be written runs, and can be stopped', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-service-'))
  t.after(() => rm(folder, { recursive: true }))
  // A file where the directory should be: as a disk that is full, or cannot be written to.
  await writeFile(join(folder, 'run'), '')
  const pids: number[] = []
  const run = await startService({
    name: 'worker',
    args: ['--help'],
    env: { PATH: process.env.PATH },
    pidFile: join(folder, 'run', 'worker.pid'),
    log: {
      attach(stream) {
        stream.resume()
      },
      server: { debug() {}, info() {}, warn() {}, error() {} },
      close() {},
    },
  })
  pids.push(run.pid)
  await run.stop(5_000)
  const exit = await run.exited
  assert.equal(typeof (exit.code ?? exit.signal), exit.code === null ? 'string' : 'number')
})

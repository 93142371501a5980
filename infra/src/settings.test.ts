import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { missing, parseSettings, UsageError } from './settings.ts'

const faults = (given: Record<string, unknown>, env: NodeJS.ProcessEnv = {}) => {
  try {
    parseSettings(given, env)
  } catch (error) {
    if (error instanceof UsageError) return error.problems
    throw error
  }
  return []
}

test('with nothing given it listens on loopback, on port 4000, with data in .penstock', () => {
  assert.deepEqual(parseSettings({}, {}), {
    config: null,
    natsUrl: null,
    databaseUrl: null,
    redisUrl: null,
    host: '127.0.0.1',
    port: 4000,
    dataDir: resolve('.penstock'),
    files: resolve('.penstock/files'),
    backends: [],
    slots: null,
    drainMs: null,
    dryRun: false,
  })
})

test('flags win over variables, and an empty variable counts as unset', () => {
  const env = {
    NATS_URL: 'nats://variable:4222',
    DATABASE_URL: '',
    PENSTOCK_CONFIG: '/etc/variable.yaml',
    PENSTOCK_DATA_DIR: '/var/variable',
  }
  const settings = parseSettings({ nats: 'nats://flag:4222', dataDir: 'here', port: '0' }, env)
  assert.equal(settings.natsUrl, 'nats://flag:4222')
  assert.equal(settings.databaseUrl, null)
  assert.equal(settings.config, '/etc/variable.yaml')
  assert.equal(settings.dataDir, resolve('here'))
  assert.equal(settings.port, 0)
})

test('several NATS servers and both names of the PostgreSQL scheme are taken', () => {
  const { natsUrl, databaseUrl } = parseSettings(
    { nats: 'nats://a:4222, tls://b:4222', database: 'postgresql://u:p@h/d' },
    {},
  )
  assert.equal(natsUrl, 'nats://a:4222, tls://b:4222')
  assert.equal(databaseUrl, 'postgresql://u:p@h/d')
})

test('backends come from the flag, as often as it is given, or from a variable with commas', () => {
  const urls = ['http://127.0.0.1:11434', 'https://gpu-2:8000/v1']
  const given = { backend: urls, slots: '3', drain: '30' }
  const { backends, slots, drainMs } = parseSettings(given, { PENSTOCK_BACKEND: 'http://x' })
  assert.deepEqual([backends, slots, drainMs], [urls, 3, 30_000])
  const fromVariable = parseSettings({}, { PENSTOCK_BACKEND: `${urls.join(', ')},${urls[0]}` })
  assert.deepEqual(fromVariable.backends, urls)
  for (const url of ['127.0.0.1:11434', 'ftp://x', 'http://u:hunter2@x', 'http://x?key=hunter2']) {
    const [fault = ''] = faults({ backend: [url] })
    assert.match(fault, /^--backend must be a URL like /)
    assert.ok(!fault.includes('hunter2'))
  }
  assert.match(faults({ slots: '0' })[0] ?? '', /^--slots must be a number from 1 /)
})

test('every fault is named after the flag or the variable that it came from', () => {
  for (const port of ['x', '-1', '65536', '1.5', '']) {
    assert.match(faults({ port })[0] ?? '', /^--port must be a number from 0 to 65535$/)
  }
  assert.match(faults({ dataDir: ' ' })[0] ?? '', /^--data-dir /)
  assert.match(faults({ nats: 'http://x' })[0] ?? '', /^--nats /)
  assert.match(faults({}, { NATS_URL: 'localhost:4222' })[0] ?? '', /^NATS_URL /)
  assert.equal(faults({ port: 'x', nats: 'x', database: 'x' }).length, 3)
})

test('a fault never repeats a password', () => {
  const secret = 'hunter2'
  const found = [
    ...faults({ database: `mysql://u:${secret}@h/d`, nats: `amqp://u:${secret}@h` }),
    ...faults({}, { DATABASE_URL: `u:${secret}@h/d`, REDIS_URL: `http://:${secret}@h` }),
  ]
  assert.equal(found.length, 4)
  assert.ok(!found.join().includes(secret))
})

test('what is missing is named by flag and variable', () => {
  assert.equal(missing('nats').message, '--nats (or NATS_URL) is missing')
  assert.equal(missing('port').message, '--port is missing')
})

test('files are in the data directory, in one of their own, or in a bucket', () => {
  assert.equal(parseSettings({ dataDir: '/data' }, {}).files, '/data/files')
  assert.equal(parseSettings({}, { FILES_DIR: '/srv/files' }).files, '/srv/files')
  const inBucket = { FILES_DIR: '/srv/files', FILES_URL: 's3://bucket/some/prefix' }
  assert.equal(parseSettings({}, inBucket).files, 's3://bucket/some/prefix')
  assert.equal(parseSettings({ filesDir: '/srv/files' }, inBucket).files, '/srv/files')
  for (const filesUrl of ['https://bucket', 's3://', 's3://bucket?secret=x', 's3://key@bucket']) {
    assert.deepEqual(faults({ filesUrl }), ['--files-url must be a URL like s3://bucket/prefix'])
  }
})

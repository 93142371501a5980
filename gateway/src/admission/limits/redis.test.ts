import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { createMemoryLimiter } from './memory.ts'
import { openRedisLimiter } from './redis.ts'
import type { Scope } from './scope.ts'

const scope: Scope = {
  ...{ id: 'k', kind: 'key', owner: 'k', model: '' },
  limits: { rpm: null, tpm: null, maxParallel: 1 },
}
const question = (requestId: string) => ({ requestId, scopes: [scope], tokens: 1, lastsMs: 60_000 })

/** A server that speaks just enough of Redis, and does not write. */
async function startFake(t: TestContext) {
  const fake = {
    isReplica: false,
    pingFails: false,
    delayMs: 0,
    connections: 0,
    asked: [] as string[],
  }
  const answerTo = (name: string) => {
    if (name === 'info') return '$20\r\nredis_version:7.0.0\n\r\n'
    if (name === 'ping') return fake.pingFails ? '-MISCONF x\r\n' : '+PONG\r\n'
    if (fake.isReplica) return '-READONLY x\r\n'
    return '*7\r\n:0\r\n:0\r\n:0\r\n:1\r\n:1\r\n:0\r\n:1\r\n'
  }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    fake.connections += 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      for (const [, name = ''] of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)) {
        fake.asked.push(name)
        setTimeout(() => socket.write(answerTo(name)), fake.delayMs)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const lines: string[] = []
  const limiter = await openRedisLimiter({
    url: `redis://127.0.0.1:${address.port}`,
    policy: () => 'refuse',
    local: createMemoryLimiter(),
    log: pino({}, { write: (line: string) => void lines.push(line) }),
  })
  t.after(async () => {
    await limiter.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { fake, lines, limiter }
}

test('a Redis that answers late each time is left alone until it does not', async (t) => {
  const { fake, lines, limiter } = await startFake(t)
  fake.delayMs = 300
  await assert.rejects(async () => limiter.take(question('a')), { code: 'service_unavailable' })
  await sleep(1_500)
  assert.deepEqual([limiter.up, lines.length], [false, 2])
  fake.delayMs = 0
  await sleep(900)
  assert.equal(limiter.up, true)
})

test('a lease that Redis refuses to take back is not offered again and again', async (t) => {
  const { fake, lines, limiter } = await startFake(t)
  const verdict = await limiter.take(question('a'))
  fake.isReplica = true
  verdict.settle(null)
  await sleep(1_500)
  assert.deepEqual(
    [fake.asked.filter((name) => name === 'zrem').length, lines.length, limiter.up],
    [1, 3, true],
  )
})

test('a Redis that refuses every command keeps its connection', async (t) => {
  const { fake, limiter } = await startFake(t)
  const verdict = await limiter.take(question('a'))
  Object.assign(fake, { isReplica: true, pingFails: true })
  verdict.settle(null)
  await sleep(1_200)
  assert.deepEqual([limiter.up, fake.connections], [false, 1])
})

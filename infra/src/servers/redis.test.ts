import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { EmbeddedServer } from './nats.ts'
import { startRedis } from './redis.ts'
import { silent } from './server-log.ts'

let dataDir: string
const servers: EmbeddedServer[] = []

before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'penstock-redis-'))
})
after(async () => {
  for (const server of servers) await server.close()
  await rm(dataDir, { recursive: true })
})

async function start(port?: number): Promise<EmbeddedServer> {
  const server = await startRedis({ dataDir, log: silent, ...(port === undefined ? {} : { port }) })
  servers.push(server)
  return server
}

/** Inline commands, each answered with one line. */
function say(port: number, commands: string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let said = ''
    socket.write([...commands, 'QUIT', ''].join('\r\n'))
    socket.on('data', (chunk) => {
      said += chunk.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(said.split('\r\n').slice(0, commands.length)))
  })
}

test('it serves who knows the password, and a killed one comes back with its data', async () => {
  const server = await start()
  const { password, hostname } = new URL(server.url)
  assert.equal(hostname, '127.0.0.1')
  assert.match((await say(server.port, ['PING'])).join(), /^-NOAUTH/)
  assert.deepEqual(await say(server.port, [`AUTH ${password}`, 'SET kept yes', 'PING']), [
    '+OK',
    '+OK',
    '+PONG',
  ])
  process.kill(server.pid, 'SIGKILL')
  await server.exited
  const again = await start(server.port)
  assert.equal(again.url, server.url)
  const [, type] = await say(again.port, [`AUTH ${password}`, 'TYPE kept'])
  assert.equal(type, '+string')
})

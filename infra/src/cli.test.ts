import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('./cli.ts', import.meta.url))
const started: ChildProcess[] = []
let folder: string
let config: string
/** Accepts connections and says nothing: a service that has connected waits for NATS to speak. */
let silentNats: Server
let natsUrl: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-cli-'))
  config = join(folder, 'config.yaml')
  await writeFile(config, 'model_list: [{model_name: a, litellm_params: {model: sim/lorem}}]')
  silentNats = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(silentNats, 'listening')
  const address = silentNats.address()
  assert.ok(typeof address === 'object' && address !== null)
  natsUrl = `nats://127.0.0.1:${address.port}`
})
after(async () => {
  for (const child of started) child.kill('SIGKILL')
  silentNats.close()
  await rm(folder, { recursive: true })
})

function run(args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { PATH: process.env.PATH, ...env },
  })
  started.push(child)
  let errors = ''
  child.stderr?.on('data', (chunk) => {
    errors += chunk
  })
  const closed = once(child, 'close').then(([code, signal]) => ({ code, signal, errors }))
  return { child, closed }
}

/** Starts a router that has reached the server that says nothing. */
async function waitingRouter(env: NodeJS.ProcessEnv = {}) {
  const connected = once(silentNats, 'connection')
  const router = run(['router', '--config', config, '--nats', natsUrl], env)
  const [socket]: Socket[] = await connected
  assert.ok(socket !== undefined)
  return { ...router, socket }
}

test('what is misconfigured ends with 78 and says what is wrong', async () => {
  const bad = join(folder, 'bad.yaml')
  await writeFile(bad, 'model_list: nonsense')
  for (const [args, message] of [
    [['gateway', '--port', 'x'], /^--port must be a number/],
    [['router', '--nats', natsUrl], /^--config \(or PENSTOCK_CONFIG\) is missing/],
    [['worker', '--config', config], /^--nats \(or NATS_URL\) is missing/],
    [['worker', '--nats', natsUrl], /^--config \(or PENSTOCK_CONFIG\) is missing/],
    [['worker', '--backend', 'gpu-box', '--nats', natsUrl], /^--backend must be a URL/],
    [['billing', '--nats', natsUrl], /^--database \(or DATABASE_URL\) is missing/],
    [['migrate'], /^--database \(or DATABASE_URL\) is missing/],
    [['router', '--config', bad, '--nats', natsUrl], /model_list/],
    [['gateway', '--config', config, '--nats', natsUrl, '--host', '0.0.0.0'], /master_key/],
  ] as const) {
    const env = { PENSTOCK_SECRET: 'of the tests, long enough' }
    const { code, errors } = await run([...args], env).closed
    assert.match(errors, message)
    assert.equal(code, 78, errors)
  }
})

test('SIGTERM and SIGINT end a service with 0, even while it still waits for its servers', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const { child, closed } = await waitingRouter()
    child.kill(signal)
    assert.deepEqual(await closed, { code: 0, signal: null, errors: '' })
  }
})

test('under the launcher a service leaves SIGINT to it, and ends when it is gone', async () => {
  const { child, socket } = await waitingRouter({ PENSTOCK_PARENT: '1' })
  const exited = once(child, 'exit')
  child.kill('SIGINT')
  // One that lives connects again.
  const reconnected = once(silentNats, 'connection').then(() => 'runs on')
  socket.destroy()
  assert.equal(await Promise.race([exited, reconnected]), 'runs on')
  child.disconnect()
  assert.deepEqual(await exited, [0, null])
})

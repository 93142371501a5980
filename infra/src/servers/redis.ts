// A Redis of one's own for tests and the bench: loopback only, its data and its password in the data
// directory, every write on disk within a second. It ends with the process that started it.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryAddress } from '../process/address.ts'
import { endLeftover, writePidFile } from '../process/pid-file.ts'
import { dieWithParent } from './die-with-parent.ts'
import { type GuardedProcess, startGuarded } from './guarded-process.ts'
import type { EmbeddedServer, EmbeddedServerOptions } from './nats.ts'
import { readOrCreateSecret } from './secret-file.ts'
import type { ServerLog } from './server-log.ts'
import { findServerProgram, type ProgramSpec } from './server-program.ts'

const redisServer: ProgramSpec = {
  name: 'redis-server',
  pathInPackage: 'usr/bin/redis-server',
  withDependencies: true,
  brewFormula: 'redis',
  // Scripts that read the clock and write: replicated by their effects from 5.0 on.
  oldest: { major: 5, minor: 0 },
  advice: [
    'install it: "apt install redis-server", "brew install redis"',
    'put the program redis-server (5.0 or newer, https://redis.io) on PATH',
  ],
}

const readyLimitMs = 20_000
const pollMs = 15
/** Another program may take a free port before Redis has it. */
const attempts = 5

/** @throws Error with the server's last lines if it did not come up within 20 s */
export async function startRedis(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const { dataDir, log, say = (text) => log.info(text) } = options
  const directory = join(dataDir, 'redis')
  const pidFile = join(dataDir, 'run', 'redis.pid')
  const program = await findServerProgram(redisServer, say)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  if (await endLeftover(pidFile, 'SIGTERM')) log.warn('stopped a Redis left by an earlier start')
  const password = await readOrCreateSecret(join(directory, 'password'))
  const configFile = join(directory, 'redis.conf')

  let tail = ''
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const port = options.port ?? (await tryAddress('127.0.0.1', 0))
    await writeFile(configFile, serverConfig(directory, port, password), { mode: 0o600 })
    const server = await startGuarded({
      name: 'redis',
      ...dieWithParent(program.path, [configFile], 'TERM'),
      env: program.env,
      stopSignals: ['SIGTERM'],
      onLine: (line) => logLine(log, line),
    })
    await writePidFile(pidFile, server.pid).catch(async (cause) => {
      // Left running, it would have the port and the files that the next one needs.
      await server.close(0)
      throw cause
    })
    if (await becomesReady(server, port, password)) {
      return {
        url: `redis://:${password}@127.0.0.1:${port}`,
        port,
        pid: server.pid,
        exited: server.exited,
        async close(limitMs) {
          await server.close(limitMs)
          await rm(pidFile, { force: true })
        },
      }
    }
    await server.close()
    tail = server.tail()
  }
  throw new Error(`Redis did not start.\n${tail}`)
}

function serverConfig(directory: string, port: number, password: string): string {
  const quote = (text: string) => JSON.stringify(text)
  return `# Written at every start.
bind 127.0.0.1
port ${port}
requirepass ${quote(password)}
dir ${quote(directory)}
appendonly yes
save ""
daemonize no
`
}

/** It refuses commands until its data is loaded; only then a PING is answered with PONG. */
async function becomesReady(
  server: GuardedProcess,
  port: number,
  password: string,
): Promise<boolean> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  const deadline = Date.now() + readyLimitMs
  while (!ended && Date.now() < deadline) {
    if (await answersPing(port, password)) return true
    await sleep(pollMs)
  }
  return false
}

function answersPing(port: number, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    let said = ''
    socket.setTimeout(1_000, () => socket.destroy())
    socket.on('connect', () => socket.write(`AUTH ${password}\r\nPING\r\n`))
    socket.on('data', (chunk) => {
      said += chunk.toString('latin1')
      // One line for each command.
      if (said.split('\r\n').length > 2) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(said.includes('+PONG')))
  })
}

/** Lines read `123:M 21 Nov 2026 01:35:17.123 * text`; `#` marks a warning. */
function logLine(log: ServerLog, line: string): void {
  const [, level, text] = /^\d+:\w .*?\d\.\d+ ([.\-*#]) (.*)$/.exec(line) ?? [line, '*', line]
  if (text === undefined || text.trim() === '') return
  if (level === '#') log.warn(text)
  else log.debug(text)
}

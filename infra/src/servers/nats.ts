// The embedded NATS server with JetStream: loopback only, on a free port, its store and its token in
// the data directory. It ends with the process that started it (see guarded-process.ts).

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Exit } from '../process/exit.ts'
import { endLeftover, writePidFile } from '../process/pid-file.ts'
import { dieWithParent } from './die-with-parent.ts'
import { type GuardedProcess, startGuarded } from './guarded-process.ts'
import { readOrCreateSecret } from './secret-file.ts'
import type { ServerLog } from './server-log.ts'
import { findServerProgram, type ProgramSpec } from './server-program.ts'

export interface EmbeddedServer {
  /** With credentials; not for logs or command lines. */
  url: string
  port: number
  pid: number
  /** Resolves when the server has ended, whether it was closed or not. */
  exited: Promise<Exit>
  /** Stops the server and resolves when it has ended; what still runs after `limitMs` is killed. */
  close(limitMs?: number): Promise<void>
}

export interface EmbeddedServerOptions {
  /** One data directory belongs to one starter at a time: a server found in it is stopped. */
  dataDir: string
  /** A free port if absent. After a crash pass the old one, so that clients find the server again. */
  port?: number
  log: ServerLog
  /** Told what takes time or changes the system: a download, a new system user. Default: the log. */
  say?(text: string): void
}

const readyLimitMs = 20_000
const pollMs = 15
const randomPort = -1

const natsServer: ProgramSpec = {
  name: 'nats-server',
  pathInPackage: 'usr/sbin/nats-server',
  withDependencies: false,
  brewFormula: 'nats-server',
  // The first release whose JetStream has what the bus uses.
  oldest: { major: 2, minor: 9 },
  advice: [
    'install it: "apt install nats-server", "brew install nats-server"',
    'put the program nats-server (2.9 or newer, https://nats.io/download) on PATH',
    'use a server of yours: NATS_URL=nats://host:4222',
  ],
}

/** @throws Error with the server's last lines if it did not come up within 20 s. */
export async function startNats(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const { dataDir, log, say = (text) => log.info(text) } = options
  const directory = join(dataDir, 'nats')
  const pidFile = join(dataDir, 'run', 'nats.pid')
  const program = await findServerProgram(natsServer, say)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  if (await endLeftover(pidFile, 'SIGTERM'))
    log.warn('stopped a NATS server left by an earlier start')

  const portsDirectory = join(directory, 'ports')
  await rm(portsDirectory, { recursive: true, force: true })
  await mkdir(portsDirectory, { mode: 0o700 })
  const token = await readOrCreateSecret(join(directory, 'token'))
  const configFile = join(directory, 'nats.conf')
  await writeFile(configFile, serverConfig(directory, options.port ?? randomPort, token), {
    mode: 0o600,
  })

  const server = await startGuarded({
    name: 'nats',
    ...dieWithParent(program.path, ['-c', configFile], 'TERM'),
    // It shares the machine with everything else. On half the cores its threads spend a fifth less
    // time waking each other, and its garbage collector a tenth less with some room to spare (about
    // 80 MB under load instead of 35; both measured on two cores).
    env: {
      ...program.env,
      GOMAXPROCS: String(Math.max(1, Math.floor(availableParallelism() / 2))),
      GOGC: '400',
    },
    stopSignals: ['SIGTERM'],
    onLine: (line) => logLine(log, line),
  })
  await writePidFile(pidFile, server.pid).catch(async (cause) => {
    // Left running, it would have the port and the files that the next one needs.
    await server.close(0)
    throw cause
  })
  const port = await readPort(server, portsDirectory)
  if (port === null) {
    await server.close(0)
    throw new Error(`The NATS server did not start.\n${server.tail()}`)
  }
  return {
    url: `nats://${token}@127.0.0.1:${port}`,
    port,
    pid: server.pid,
    exited: server.exited,
    async close(limitMs) {
      await server.close(limitMs)
      await rm(pidFile, { force: true })
    },
  }
}

/** NATS's configuration language takes JSON's strings; sizes and durations have units. */
function serverConfig(directory: string, port: number, token: string): string {
  const quote = (text: string) => JSON.stringify(text)
  return `# Written at every start.
server_name: penstock
listen: ${quote(`127.0.0.1:${port}`)}
ports_file_dir: ${quote(join(directory, 'ports'))}
authorization { token: ${quote(token)} }
logtime: false

# A client that falls behind in a burst of frames is not cut off at the default of 64 MB.
max_pending: 256MB
write_deadline: "10s"

jetstream {
  store_dir: ${quote(directory)}
  # Upper bounds, not reservations; the streams' own bounds (shared/src/contracts) lie below them.
  max_memory_store: 1GB
  max_file_store: 16GB
}
`
}

const portsFile = z.object({ nats: z.array(z.string()).min(1) })

/**
 * The server writes `nats-server_PID.ports` when it accepts connections, JetStream included: the
 * port it chose, and the sign that it is ready.
 * @returns null if it ended first or was not ready in time
 */
async function readPort(server: GuardedProcess, directory: string): Promise<number | null> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  const deadline = Date.now() + readyLimitMs
  while (!ended && Date.now() < deadline) {
    const name = (await readdir(directory)).find((file) => file.endsWith('.ports'))
    const parsed =
      name === undefined ? null : parsePorts(await readFile(join(directory, name), 'utf8'))
    if (parsed !== null) return parsed
    await sleep(pollMs)
  }
  return null
}

function parsePorts(text: string): number | null {
  try {
    const [url] = portsFile.parse(JSON.parse(text)).nats
    return url === undefined ? null : Number(new URL(url).port)
  } catch {
    // Half-written.
    return null
  }
}

/** Lines read `[123] [WRN] text`; the banner's have no text. */
function logLine(log: ServerLog, line: string): void {
  const [, level, text] = /^(?:\[\d+\] )?\[(\w{3})\] (.*)$/.exec(line) ?? [line, 'INF', line]
  if (text === undefined || text.trim() === '') return
  if (level === 'ERR' || level === 'FTL') log.error(text)
  else if (level === 'WRN') log.warn(text)
  else if (level === 'INF') log.info(text)
  else log.debug(text)
}

// The embedded PostgreSQL: loopback only, on a free port, password in the data directory, durable
// settings left on. It ends with the process that started it (see guarded-process.ts).
import { mkdir, readFile, realpath, rm } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryAddress } from '../process/address.ts'
import { endProcess } from '../process/pid-file.ts'
import { commandLine } from '../process/process-identity.ts'
import { type GuardedProcess, startGuarded } from './guarded-process.ts'
import type { EmbeddedServer, EmbeddedServerOptions } from './nats.ts'
import { ensureCluster, findPrograms, roleName } from './postgres-cluster.ts'
import { databaseUser } from './postgres-user.ts'
import { readOrCreateSecret } from './secret-file.ts'
import type { ServerLog } from './server-log.ts'

const lockFile = 'postmaster.pid'
const readyLimitMs = 60_000
const pollMs = 20
const attempts = 5
const retryMs = 250

/** For a small machine. `fsync` and `synchronous_commit` stay on, as PostgreSQL has them. */
const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '50',
  shared_buffers: `${sharedBuffersMb()}MB`,
  // A page that the system has in its cache is read in microseconds; asking a process for it, as
  // PostgreSQL 18 does by default, takes three times as long on a machine of two cores.
  io_method: 'sync',
  // Nobody replicates from it.
  wal_level: 'minimal',
  max_wal_senders: '0',
  // Short queries by key gain nothing from compilation.
  jit: 'off',
  log_line_prefix: '',
}

/**
 * @throws Error with the server's last lines if it did not come up: within 60 s (crash recovery
 *   included) and, since a port may be taken and the last server's memory linger, five attempts
 */
export async function startPostgres(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const { log, say = (text) => log.info(text) } = options
  await mkdir(join(options.dataDir, 'postgres'), { recursive: true, mode: 0o700 })
  const directory = await realpath(join(options.dataDir, 'postgres'))

  const [programs, user] = await Promise.all([findPrograms(), databaseUser(say)])
  const password = await readOrCreateSecret(join(directory, 'password'))
  const cluster = await ensureCluster(directory, password, user, programs)
  await takeOver(cluster, log)

  let tail = ''
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const port = options.port ?? (await tryAddress('127.0.0.1', 0))
    const flags = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
    const server = await startGuarded({
      name: 'postgres',
      ...user.command(programs.postgres, ['-D', cluster, '-p', String(port), ...flags]),
      // Fast shutdown, then immediate (postgres(1)).
      stopSignals: ['SIGINT', 'SIGQUIT'],
      onLine: (line) => logLine(log, line),
    })
    if (await becomesReady(server, cluster)) {
      return {
        url: `postgres://${roleName}:${password}@127.0.0.1:${port}/${roleName}`,
        port,
        pid: server.pid,
        exited: server.exited,
        close: server.close,
      }
    }
    await server.close()
    tail = server.tail()
    await sleep(retryMs)
  }
  throw new Error(`PostgreSQL did not start.\n${tail}`)
}

/**
 * A sixteenth of the memory that we may use, within bounds: a ledger of a million rows fits into the
 * upper one, and what is not needed of it is never touched.
 */
function sharedBuffersMb(): number {
  // 0, or more than there is: unlimited.
  const allowed = process.constrainedMemory() || Number.POSITIVE_INFINITY
  const share = Math.floor(Math.min(totalmem(), allowed) / 16 / 2 ** 20)
  return Math.min(512, Math.max(128, share))
}

/**
 * postmaster.pid says `ready` in its eighth line when connections are accepted (pidfile.h); pg_ctl
 * waits in the same way. Its first line tells whether the file is this server's.
 */
async function becomesReady(server: GuardedProcess, cluster: string): Promise<boolean> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  const deadline = Date.now() + readyLimitMs
  while (!ended && Date.now() < deadline) {
    const lines = await readLock(cluster)
    if (lines[0] === String(server.pid) && lines[7]?.trim() === 'ready') return true
    await sleep(pollMs)
  }
  return false
}

/**
 * Ends a PostgreSQL that a killed guard left on this cluster. After a crash PostgreSQL takes its lock
 * file over by itself, but not if a stranger's process has the number in it by now.
 */
async function takeOver(cluster: string, log: ServerLog): Promise<void> {
  const pid = Number((await readLock(cluster))[0])
  if (!Number.isInteger(pid) || pid < 1) return
  const runs = async () => (await commandLine(pid))?.includes(cluster) ?? false
  if (await endProcess(pid, 'SIGINT', runs))
    log.warn('stopped a PostgreSQL left by an earlier start')
  else if ((await commandLine(pid)) !== null) await rm(join(cluster, lockFile), { force: true })
}

/** The lines of postmaster.pid; none where there is no such file. */
async function readLock(cluster: string): Promise<string[]> {
  try {
    return (await readFile(join(cluster, lockFile), 'utf8')).split('\n')
  } catch {
    return []
  }
}

/** Lines read `LOG:  text`; an ERROR is a statement's, which whoever sent it deals with. */
function logLine(log: ServerLog, line: string): void {
  if (line.startsWith('PANIC:')) log.error(line)
  else if (line.startsWith('FATAL:')) log.warn(line)
  else log.info(line)
}

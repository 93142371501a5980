// The real NATS and the real PostgreSQL of one test file, and Redis where it asks for one, in a
// directory of their own, migrated; each can be stopped and started again on its port. `close` leaves
// nothing behind.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, openDatabase } from '@penstock/billing-service/database'
import { migrate } from '@penstock/billing-service/migrate'
import { migrateBatches } from '@penstock/gateway/batch/store/migrate'
import { type EmbeddedServer, startNats } from '@penstock/infra/servers/nats'
import { startPostgres } from '@penstock/infra/servers/postgres'
import { startRedis } from '@penstock/infra/servers/redis'
import type { Kysely } from 'kysely'
import pino from 'pino'

export const silent = pino({ level: 'silent' })

export interface TestServer {
  stop(): Promise<void>
  /** SIGKILL: what it had not written is lost. Resolves when it has ended. */
  kill(): Promise<void>
  /** Again on the same port, with the same data. */
  start(): Promise<void>
}

export interface Servers {
  /** For what a test leaves in files; removed with everything else. */
  directory: string
  natsUrl: string
  databaseUrl: string
  nats: TestServer
  postgres: TestServer
  /** Null unless it was asked for. */
  redis: (TestServer & { url: string }) | null
  /** The test's own way into the database. */
  db: Kysely<Database>
  close(): Promise<void>
}

type Start = typeof startNats

/** Takes about two seconds: once per test file. */
export async function startServers({ redis: withRedis = false } = {}): Promise<Servers> {
  const directory = await mkdtemp(join(tmpdir(), 'penstock-e2e-'))
  const dataDir = join(directory, 'data')
  const [nats, postgres, redis] = await Promise.all([
    restartable(startNats, dataDir),
    restartable(startPostgres, dataDir),
    withRedis ? restartable(startRedis, dataDir) : null,
  ])
  await migrate(postgres.url)
  await migrateBatches(postgres.url)
  const db = openDatabase({ databaseUrl: postgres.url, max: 4, statementTimeoutMs: 20_000 })
  return {
    directory,
    natsUrl: nats.url,
    databaseUrl: postgres.url,
    nats,
    postgres,
    redis,
    db,
    async close() {
      await db.destroy()
      await Promise.all([nats.stop(), postgres.stop(), redis?.stop()])
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export async function restartable(
  start: Start,
  dataDir: string,
): Promise<TestServer & { url: string }> {
  let running: EmbeddedServer | null = await start({ dataDir, log: silent })
  const { url, port } = running
  return {
    url,
    async stop() {
      await running?.close()
      running = null
    },
    async kill() {
      if (running === null) return
      process.kill(running.pid, 'SIGKILL')
      await running.exited
      running = null
    },
    async start() {
      running ??= await start({ dataDir, port, log: silent })
    },
  }
}

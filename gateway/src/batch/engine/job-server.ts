// Where BullMQ keeps the jobs: in Postgres, in a schema of their own, or in Redis. What BullMQ lacks to
// outlive a server that breaks its connections, or is still starting, is added here.
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '@penstock/shared/open-postgres'
import {
  createPostgresBackend,
  createRedisBackend,
  DEFAULT_SCHEMA,
  type IQueueBackend,
  type PgPool,
  runMigrations,
} from 'bullmq'
import type pg from 'pg'

export interface JobServer {
  /** For BullMQ's classes; what they are told to connect to is passed over. */
  factory: typeof createRedisBackend
  /** After all that was made by `factory` is closed. */
  close(): Promise<void>
}

const statementTimeoutMs = 30_000
/** After a failure, before the next job is asked for. */
const failurePauseMs = 500
/** Should the server's word that there are jobs be lost, they are looked for after that, in seconds. */
const longestWait = 5

/**
 * @param redisUrl null: Postgres, whose tables are brought up to date
 * @param connections at most, to Postgres
 * @throws what Postgres fails with where it does not answer
 */
export async function openJobServer(
  { databaseUrl, redisUrl }: { databaseUrl: string; redisUrl: string | null },
  connections: number,
): Promise<JobServer> {
  if (redisUrl !== null) {
    // Without it a command fails after twenty tries; a worker is to wait for Redis to come back.
    const connection = { url: redisUrl, maxRetriesPerRequest: null }
    return {
      factory: (name, options, kind) => {
        const own = { ...options, connection, prefix: 'penstock' }
        return patient(createRedisBackend(name, own, kind))
      },
      close: async () => {},
    }
  }
  // One of BullMQ's own making lends connections at whose end nobody listens: that ends the process.
  const pool = openPool({
    databaseUrl,
    applicationName: 'penstock-batch-jobs',
    max: connections,
    statementTimeoutMs,
    // BullMQ's statements name no schema, and it expects this one of a pool that is lent to it.
    onConnect: async (client) => {
      await client.query(`set search_path to ${DEFAULT_SCHEMA}`)
    },
  })
  try {
    await migrate(pool)
  } catch (cause) {
    await pool.end()
    throw cause
  }
  // It is one, but pg's types and BullMQ's tell its listeners in two ways.
  const connection = pool as unknown as PgPool
  const factory = (...[name, options, kind]: Parameters<typeof createRedisBackend>) =>
    patient(createPostgresBackend(name, { ...options, connection }, kind))
  // What the two backends have in common is all that BullMQ's own classes ask of them.
  return { factory: factory as unknown as typeof createRedisBackend, close: () => pool.end() }
}

async function migrate(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await runMigrations(client)
    client.release()
  } catch (cause) {
    // It may be in the midst of a transaction.
    client.release(true)
    throw cause
  }
}

/** A worker of BullMQ that was refused asks again at once, and would storm a server that starts. */
function patient<B extends IQueueBackend>(backend: B): B {
  const moveToActive = backend.moveToActive.bind(backend)
  const waitForJob = backend.waitForJob.bind(backend)
  backend.moveToActive = async (...args) => {
    try {
      return await moveToActive(...args)
    } catch (cause) {
      await sleep(failurePauseMs)
      throw cause
    }
  }
  backend.waitForJob = (seconds) => waitForJob(Math.min(seconds, longestWait))
  return backend
}

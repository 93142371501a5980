// The jobs that drive batches, on BullMQ: in Postgres, in a schema of its own, or in Redis where there
// is one. Every job has an id made of what it does, so that adding it again changes nothing; what the
// queue loses is put back from the tables of batches.
import type { Logger } from '@penstock/shared/telemetry/log'
import {
  createPostgresBackend,
  createRedisBackend,
  type JobsOptions as JobDefaults,
  Queue,
  type Telemetry,
  Worker,
} from 'bullmq'
import { z } from 'zod'

export const jobData = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('validate'), batchId: z.string() }),
  z.object({ kind: z.literal('slice'), batchId: z.string(), slice: z.int().min(0) }),
  z.object({ kind: z.literal('finalize'), batchId: z.string() }),
])
export type BatchJob = z.infer<typeof jobData>

export interface JobPlace {
  databaseUrl: string
  /** Null: the jobs are in Postgres. */
  redisUrl: string | null
  /** Null: nobody traces. */
  telemetry: Telemetry | null
}

const queueName = 'penstock-batch'
const schema = 'penstock_batch'
/** A job whose runner was killed is run by another one after about that, in milliseconds. */
const lockMs = 6_000
const stalledCheckMs = 3_000
const retryDelayMs = 1_000
const complaintMs = 10_000
/** Slices in work, most of which wait for their turn. */
const concurrency = 128
/** Whoever kills a runner again and again should not lose a batch by it. */
const maxStalledCount = 1_000_000

const jobOptions: JobDefaults = {
  // The next look at the tables puts back what failed for good.
  attempts: 8,
  backoff: { type: 'exponential', delay: retryDelayMs },
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 1,
}

/** Connections: `max` of a pool, besides one that listens. */
function backendOf({ databaseUrl, redisUrl, telemetry }: JobPlace, max: number) {
  const traced = telemetry === null ? {} : { telemetry }
  if (redisUrl !== null) {
    // Without it a command fails after twenty tries; a worker is to wait for Redis to come back.
    const connection = { url: redisUrl, maxRetriesPerRequest: null }
    return { options: { ...traced, connection, prefix: 'penstock' }, factory: createRedisBackend }
  }
  const connection = {
    connectionString: databaseUrl,
    schema,
    migrate: true,
    max,
    application_name: 'penstock-batch-jobs',
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  }
  return { options: { ...traced, connection }, factory: createPostgresBackend }
}

/** @param onFault called for each failure of the connection; it comes back by itself */
export function openQueue(place: JobPlace, onFault: (error: Error) => void): Queue {
  const { options, factory } = backendOf(place, 2)
  const defaults = { defaultJobOptions: jobOptions }
  // The two kinds of options differ by what they connect to alone, which the factory tells apart.
  const queue = new Queue(
    queueName,
    { ...options, ...defaults },
    factory as typeof createRedisBackend,
  )
  queue.on('error', onFault)
  return queue
}

export type TracedJob = BatchJob & { traceparent: string | null }

async function addJobs(queue: Queue, jobs: readonly TracedJob[]): Promise<void> {
  if (jobs.length === 0) return
  await queue.addBulk(
    jobs.map(({ traceparent, ...data }) => {
      const telemetry = { metadata: JSON.stringify({ traceparent }) }
      const opts = { jobId: jobIdOf(data), ...(traceparent === null ? {} : { telemetry }) }
      return { name: data.kind, data, opts }
    }),
  )
}

/** BullMQ takes no colon in an id. */
export function jobIdOf(job: BatchJob): string {
  const of = `${job.kind}-${job.batchId}`
  return job.kind === 'slice' ? `${of}-${job.slice}` : of
}

export interface Jobs {
  /** Those that are there already stay as they are. */
  add(jobs: readonly TracedJob[]): Promise<void>
  /** Takes jobs from now on. @param run what it throws makes the job be tried again, later and later */
  start(run: (job: BatchJob) => Promise<void>): void
  /** Resolves when the jobs under way have ended. */
  close(): Promise<void>
}

export interface JobsOptions extends JobPlace {
  /** Called when the queue could not be reached: it may have lost jobs. */
  onFault(): void
  log: Logger
}

/** @throws what the queue's server fails with, where it is not there */
export async function openJobs({ onFault, log, ...place }: JobsOptions): Promise<Jobs> {
  let complainedAt = 0
  const onError = (err: Error) => {
    onFault()
    if (Date.now() - complainedAt < complaintMs) return
    complainedAt = Date.now()
    log.warn({ err }, 'the queue of batches cannot be reached now')
  }
  const queue = openQueue(place, onError)
  await queue.waitUntilReady()
  let worker: Worker | null = null
  return {
    add: (jobs) => addJobs(queue, jobs),
    start(run) {
      worker = startWorker(place, run, onError, log)
    },
    async close() {
      await worker?.close()
      await queue.close()
    },
  }
}

function startWorker(
  place: JobPlace,
  run: (job: BatchJob) => Promise<void>,
  onError: (error: Error) => void,
  log: Logger,
): Worker {
  const { options, factory } = backendOf(place, 4)
  const worker = new Worker(
    queueName,
    async ({ data }) => {
      const job = jobData.safeParse(data)
      if (job.success) await run(job.data)
      else log.warn('a job of another version was dropped')
    },
    {
      ...options,
      concurrency,
      lockDuration: lockMs,
      lockRenewTime: lockMs / 3,
      stalledInterval: stalledCheckMs,
      maxStalledCount,
      runRetryDelay: retryDelayMs,
      drainDelay: 1,
    },
    factory as typeof createRedisBackend,
  )
  worker.on('error', onError)
  worker.on('failed', (job, err) => log.warn({ job: job?.id, err }, 'a job of a batch failed'))
  return worker
}

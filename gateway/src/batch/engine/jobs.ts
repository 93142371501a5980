// The jobs that drive batches, on BullMQ. Every job has an id made of what it does, so that adding it
// again changes nothing; what the queue loses is put back from the tables of batches.
import type { Logger } from '@penstock/shared/telemetry/log'
import { type JobsOptions as JobDefaults, Queue, type Telemetry, Worker } from 'bullmq'
import { z } from 'zod'
import { type JobServer, openJobServer } from './job-server.ts'

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
/** To Postgres: of a queue alone, and of a queue with its worker, which listens on one. */
const queueConnections = 2
const jobConnections = 6
/** A job whose runner was killed is run by another one after about that, in milliseconds. */
const lockMs = 6_000
const stalledCheckMs = 3_000
const retryDelayMs = 1_000
const complaintMs = 10_000
/** In work here, most of which are slices that wait for their turn. */
export const jobsAtOnce = 512
/** Whoever kills a runner again and again should not lose a batch by it. */
const maxStalledCount = 1_000_000

const jobOptions: JobDefaults = {
  // The next look at the tables puts back what failed for good, sooner than longer pauses would end.
  attempts: 5,
  backoff: { type: 'exponential', delay: retryDelayMs },
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 1,
}

/**
 * A queue to look at.
 * @param onFault called for each failure of the connection; it comes back by itself
 * @throws what the queue's server fails with, where it is not there
 */
export async function openQueue(
  place: JobPlace,
  onFault: (error: Error) => void,
): Promise<{ queue: Queue; close(): Promise<void> }> {
  const server = await openJobServer(place, queueConnections)
  const queue = createQueue(server, place, onFault)
  const close = () => closeAll([queue, server])
  await readyOrClosed([queue], close)
  return { queue, close }
}

function createQueue(
  { factory }: JobServer,
  { telemetry }: JobPlace,
  onFault: (error: Error) => void,
): Queue {
  const traced = telemetry === null ? {} : { telemetry }
  const options = { ...traced, connection: {}, defaultJobOptions: jobOptions }
  const queue = new Queue(queueName, options, factory)
  queue.on('error', onFault)
  return queue
}

/** What failed to connect at first BullMQ never tries again: it has to be made anew. */
async function readyOrClosed(
  parts: readonly { waitUntilReady(): Promise<unknown> }[],
  close: () => Promise<void>,
): Promise<void> {
  try {
    await Promise.all(parts.map((part) => part.waitUntilReady()))
  } catch (cause) {
    await close().catch(() => {})
    throw cause
  }
}

async function closeAll(parts: readonly { close(): Promise<void> }[]): Promise<void> {
  for (const part of parts) await part.close()
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
  /**
   * Takes jobs from now on.
   * @param run what it throws makes the job be tried again, later and later
   * @param onFault called when the queue could not be reached: it may have lost jobs
   */
  start(run: (job: BatchJob) => Promise<void>, onFault: () => void): void
  /** Resolves when the jobs under way have ended. */
  close(): Promise<void>
}

/** @throws what the queue's server fails with, where it is not there */
export async function openJobs({ log, ...place }: JobPlace & { log: Logger }): Promise<Jobs> {
  let onJob: (job: BatchJob) => Promise<void> = async () => {}
  let onFault = () => {}
  let complainedAt = 0
  const onError = (err: Error) => {
    onFault()
    if (Date.now() - complainedAt < complaintMs) return
    complainedAt = Date.now()
    log.warn({ err }, 'the queue of batches cannot be reached now')
  }
  const server = await openJobServer(place, jobConnections)
  const queue = createQueue(server, place, onError)
  const worker = createWorker(server, place, (job) => onJob(job), log)
  worker.on('error', onError)
  const close = () => closeAll([worker, queue, server])
  await readyOrClosed([queue, worker], close)
  return {
    add: (jobs) => addJobs(queue, jobs),
    start(run, faulty) {
      onJob = run
      onFault = faulty
      worker.run().catch(onError)
    },
    close,
  }
}

function createWorker(
  { factory }: JobServer,
  { telemetry }: JobPlace,
  run: (job: BatchJob) => Promise<void>,
  log: Logger,
): Worker {
  const traced = telemetry === null ? {} : { telemetry }
  const worker = new Worker(
    queueName,
    async ({ data }) => {
      const job = jobData.safeParse(data)
      if (job.success) await run(job.data)
      else log.warn('a job of another version was dropped')
    },
    {
      ...traced,
      connection: {},
      autorun: false,
      concurrency: jobsAtOnce,
      lockDuration: lockMs,
      lockRenewTime: lockMs / 3,
      stalledInterval: stalledCheckMs,
      maxStalledCount,
      runRetryDelay: retryDelayMs,
      drainDelay: 1,
    },
    factory,
  )
  worker.on('failed', (job, err) => log.warn({ job: job?.id, err }, 'a job of a batch failed'))
  return worker
}

// Starts one runner of batches: a gateway without HTTP, whose clients are the lines of files. Returns
// how to stop it; several side by side share the work.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { broadcast, listen } from '@penstock/shared/bus/broadcast'
import { openClaimCheck } from '@penstock/shared/bus/claim-check'
import { connectBus } from '@penstock/shared/bus/connect'
import { type FleetView, watchFleet } from '@penstock/shared/bus/fleet-view'
import { startHeartbeat } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { channels } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type StartedTracing, startTracing } from '@penstock/shared/telemetry/trace'
import type { Telemetry } from 'bullmq'
import { createKeyCache } from '../../access/key-cache.ts'
import { createSecret } from '../../access/secret.ts'
import { createAdmission } from '../../admission/admission.ts'
import { openLimiter } from '../../admission/limits/open-limiter.ts'
import { createDispatcher } from '../../dispatch.ts'
import { openLocalSessions } from '../../local-sessions.ts'
import { startFileSweeper } from '../remove-files.ts'
import type { Storage } from '../storage/storage.ts'
import { askDatabase, openBatchDatabase } from '../store/database.ts'
import { createDrive } from './drive.ts'
import { createInFlight, createRoom, limitFor } from './in-flight.ts'
import { openJobs } from './jobs.ts'
import { startReports } from './report.ts'
import { createResultWriter } from './results.ts'
import { defaultRetry, type RetryPolicy } from './retry.ts'
import { createJobRunner } from './run-job.ts'
import type { Runner } from './runner.ts'
import { liveBatches } from './slices.ts'
import { sliceLines } from './validate.ts'

export interface BatchRunnerOptions {
  config: PenstockConfig
  natsUrl: string
  databaseUrl: string
  /** Null: the jobs are in Postgres, and limits of keys are counted here alone. */
  redisUrl: string | null
  /** Closed with the runner. */
  storage: Storage
  /** The gateways' own: keys are known by it. */
  secret: string
  log: Logger
  retry?: RetryPolicy
  /** By which windows open and shut, in epoch milliseconds. */
  now?: () => number
}

const connections = 6
const statementTimeoutMs = 30_000
const firstAnswerMs = 60_000
const pauseMs = 500
const maxInputBytes = 48 * 1024 * 1024
/** Slices of one batch that are jobs at once. */
const leastWindow = 4
const mostWindow = 64
/** Lines under way have so long to end when the runner is told to stop, in milliseconds. */
const drainMs = 2_000

/** @throws Error where NATS or the database does not answer within a minute */
export async function startBatchRunner(options: BatchRunnerOptions) {
  const { natsUrl, databaseUrl, redisUrl, storage, log } = options
  const id = randomUUID()
  const db = openBatchDatabase({ databaseUrl, max: connections, statementTimeoutMs })
  await firstAnswer(() => askDatabase(liveBatches(db)))
  const bus = await connectBus({ natsUrl, name: `batch ${id}`, log })
  const tracing = await startTracing('batch')
  const fleet = watchFleet(bus, log)
  // Routers and workers know those who wait for answers as gateways, whatever brings them requests.
  const stopHeartbeat = startHeartbeat(bus, 'gateway', id, () => [])
  bus.onReconnect(() => broadcast(bus, channels.alive, { service: 'gateway', id, problems: [] }))
  const limiter = await openLimiter({
    url: redisUrl,
    policy: () => runner.config.penstock.redisLost,
    metrics: { watchLimiter: () => {} },
    log,
  })
  const results = createResultWriter(db, log)
  const runner: Runner = {
    config: options.config,
    db,
    storage,
    fleet,
    dispatcher: createDispatcher(bus, await openClaimCheck(bus), id, log),
    admission: createAdmission({ bus, fleet, limiter, config: () => runner.config, log }),
    localSessions: await openLocalSessions(bus),
    keys: createKeyCache({ bus, log, secret: createSecret(options.secret) }),
    inFlight: createInFlight((group) => slotsOf(fleet, group)),
    inputRoom: createRoom(() => maxInputBytes),
    results,
    retry: options.retry ?? defaultRetry,
    tracing,
    batch: (batchId) => drive.find(batchId),
    counts: { completed: 0, failed: 0, dead: 0 },
    log,
  }
  fleet.onChange(() => runner.inFlight.pump())
  const telemetry = await telemetryOf(tracing)
  const jobs = await firstAnswer(() => openJobs({ databaseUrl, redisUrl, telemetry, log }))
  const { now = Date.now } = options
  const drive = createDrive({ db, add: jobs.add, window: () => windowOf(fleet), log, now })
  const changes = listen(bus, log, channels.batchChanged, ({ batchId }) => void drive.look(batchId))
  const stopReports = startReports(bus, id, runner, () => drive.batches.values())
  const stopSweeper = startFileSweeper({ db, storage }, log)
  jobs.start(createJobRunner(runner, drive), () => drive.jobsLost())
  log.info({ id, jobs: redisUrl === null ? 'postgres' : 'redis' }, 'batch runner takes jobs')

  return {
    /** Another config for the lines that start from now on. */
    reload(changed: PenstockConfig) {
      runner.config = changed
    },
    async close() {
      changes.unsubscribe()
      const left = [...drive.batches.keys()]
      drive.stop()
      const idle = jobs.close()
      await Promise.race([idle, sleep(drainMs)])
      drive.end()
      // Lines that are answered wait for a database that is away, and the jobs for them.
      await Promise.race([idle, sleep(drainMs / 2)])
      await results.close()
      await idle
      stopReports()
      await stopSweeper()
      runner.dispatcher.close()
      // Others take over at once what was begun here.
      for (const batchId of left) broadcast(bus, channels.batchChanged, { batchId })
      stopHeartbeat()
      fleet.close()
      runner.keys.close()
      await runner.admission.close()
      await bus.close()
      await db.destroy()
      storage.close()
      await tracing.close()
    },
  }
}

/** A batch's jobs are part of the trace of the request that made it. */
async function telemetryOf(tracing: StartedTracing): Promise<Telemetry | null> {
  if (!tracing.lend()) return null
  const { BullMQOtel } = await import('bullmq-otel')
  return new BullMQOtel({ tracerName: 'penstock' })
}

function slotsOf(fleet: FleetView, group: string): number {
  return fleet.inGroup(group).reduce((sum, { slots }) => sum + slots, 0)
}

/** Enough for the largest model group: nobody knows beforehand which one a slice asks. */
function windowOf(fleet: FleetView): number {
  const slots = Math.max(0, ...fleet.groups().map((group) => slotsOf(fleet, group)))
  const wanted = Math.ceil(limitFor(slots) / sliceLines) + 2
  return Math.max(leastWindow, Math.min(mostWindow, wanted))
}

/** The database may be about to start. */
async function firstAnswer<T>(ask: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + firstAnswerMs
  for (;;) {
    try {
      return await ask()
    } catch (cause) {
      if (Date.now() > giveUpAt) throw cause
    }
    await sleep(pauseMs)
  }
}

// Starts the worker process: one pool per deployment of the config and per model of the backends it
// was pointed at, a heartbeat that announces them. Both may change while it runs.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createAckLog } from '@penstock/shared/bus/ack-log'
import { broadcast, listen } from '@penstock/shared/bus/broadcast'
import { openClaimCheck } from '@penstock/shared/bus/claim-check'
import { connectBus } from '@penstock/shared/bus/connect'
import { createFinishedFrames } from '@penstock/shared/bus/finished-frames'
import { heartbeatMs, startHeartbeat, watchServices } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { startTracing } from '@penstock/shared/telemetry/trace'
import { startBackends } from './backends.ts'
import { startPool } from './pool.ts'
import { createPools } from './pools.ts'
import { closeHttp } from './providers/http.ts'
import {
  type ResolvedDeployment,
  resolveDeployment,
  withDefaultPrices,
} from './resolved-deployment.ts'
import type { WorkerContext } from './run-job.ts'
import { createRunningJobs } from './running-jobs.ts'
import { createUsagePublisher } from './usage-publisher.ts'

export interface WorkersOptions {
  config: PenstockConfig
  natsUrl: string
  log: Logger
  env?: NodeJS.ProcessEnv
  /** URLs of servers whose models are served beside the config's, whatever they are. */
  backends?: readonly string[]
  /** Slots of each model of these servers; null: the provider's default. */
  slots?: number | null
  /** How long running jobs may go on after a stop, in milliseconds. */
  drainMs?: number
}

/** Until pools that NATS refused to change are tried again. */
const retryMs = 2_000

export async function startWorkers(options: WorkersOptions) {
  const { config, log, env = process.env, slots = null, drainMs = 7_000 } = options
  let configured = resolveAll(config, env, log)
  let { budgets } = config.penstock
  const workerId = randomUUID()
  const bus = await connectBus({ natsUrl: options.natsUrl, name: `worker ${workerId}`, log })
  const tracing = await startTracing('worker')
  const services = watchServices(bus, log)
  const running = createRunningJobs(bus, services, workerId, log)
  const usage = createUsagePublisher(bus, log)
  const ctx: WorkerContext = {
    workerId,
    bus,
    acks: createAckLog(bus),
    claims: await openClaimCheck(bus),
    usage,
    running,
    finished: createFinishedFrames(bus),
    services,
    tracing,
    log,
    streamTimeoutMs: config.router.streamTimeoutMs,
  }
  let draining = false
  const stopping = new AbortController()
  const { signal } = stopping
  const backends = await startBackends({
    urls: options.backends ?? [],
    slots,
    env,
    log,
    onChange: () => void serveChanged(),
  })
  const announce = () =>
    broadcast(bus, channels.fleet, {
      workerId,
      draining,
      deployments: [...pools.infos],
      aliases: backends.aliases(),
    })
  const pools = createPools({ start: (target) => startPool(ctx, target), announce })
  const serve = () => {
    const targets = [...configured, ...backends.targets()]
    return pools.apply(targets.map((target) => withDefaultPrices(target, budgets)))
  }
  /** Until it is done, or told to stop. */
  async function serveChanged(): Promise<void> {
    while (!signal.aborted) {
      try {
        return await serve()
      } catch (cause) {
        log.warn({ err: cause }, 'the deployments could not all be changed, trying again')
        await sleep(retryMs, null, { signal }).catch(() => undefined)
      }
    }
  }
  const subs = [
    listen(bus, log, channels.cancel, ({ requestId }) => running.cancel(requestId)),
    listen(bus, log, channels.fleetAsk, announce),
  ]
  await serve()
  announce()
  const announcing = setInterval(announce, heartbeatMs)
  const stopHeartbeat = startHeartbeat(bus, 'worker', workerId, usage.problems)
  log.info({ workerId, deployments: pools.infos.length }, 'worker takes jobs')

  return {
    /** Another config from now on; jobs under way keep theirs. */
    reload(changed: PenstockConfig) {
      configured = resolveAll(changed, env, log)
      budgets = changed.penstock.budgets
      ctx.streamTimeoutMs = changed.router.streamTimeoutMs
      return serveChanged()
    },
    /** Finishes what runs, within `drainMs`; what does not finish is redelivered elsewhere. */
    async close() {
      draining = true
      announce()
      stopping.abort()
      backends.close()
      await pools.close()
      const message = 'The worker was stopped while it was answering.'
      const limit = setTimeout(
        () => running.abortAll(new PenstockError('interrupted', message)),
        drainMs,
      )
      await running.idle()
      clearTimeout(limit)
      clearInterval(announcing)
      stopHeartbeat()
      for (const sub of subs) sub.unsubscribe()
      running.close()
      services.close()
      usage.close()
      await bus.close()
      await closeHttp()
      await tracing.close()
    },
  }
}

/** One entry with a provider we do not have must not keep the others from serving. */
function resolveAll(config: PenstockConfig, env: NodeJS.ProcessEnv, log: Logger) {
  const all = { ...env, ...config.environment }
  return config.deployments.flatMap((deployment): ResolvedDeployment[] => {
    try {
      return [resolveDeployment(deployment, all)]
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      log.warn({ group: deployment.group, reason }, 'a deployment is left out')
      return []
    }
  })
}

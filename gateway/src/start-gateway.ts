// Starts one gateway: connect, watch, listen. Returns how to stop it.
import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { broadcast, listen } from '@penstock/shared/bus/broadcast'
import { openClaimCheck } from '@penstock/shared/bus/claim-check'
import { connectBus } from '@penstock/shared/bus/connect'
import { watchFleet } from '@penstock/shared/bus/fleet-view'
import { startHeartbeat, watchServices } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { ConfigError } from '@penstock/shared/config/config-error'
import { channels } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'
import { startTracing } from '@penstock/shared/telemetry/trace'
import { createKeyCache } from './access/key-cache.ts'
import { createSecret } from './access/secret.ts'
import { createAdmission } from './admission/admission.ts'
import { openLimiter } from './admission/limits/open-limiter.ts'
import { createApp } from './app.ts'
import { createAuthenticate } from './auth.ts'
import { type BatchOptions, openBatches } from './batch/open-batches.ts'
import { watchBatchReports } from './batch/reports-view.ts'
import { billingLag } from './billing-lag.ts'
import { createAnswerCache } from './cache/answer-cache.ts'
import { createDispatcher } from './dispatch.ts'
import type { Gateway } from './gateway.ts'
import { createIdempotency } from './idempotency/idempotency.ts'
import { createIdempotencyStore } from './idempotency/idempotency-store.ts'
import { openLocalSessions } from './local-sessions.ts'
import { createMetrics } from './metrics.ts'
import { watchQueues } from './queues-view.ts'
import { createBackground } from './responses/background.ts'
import { openKeptResponses } from './responses/kept-responses.ts'

export interface GatewayOptions {
  config: PenstockConfig
  natsUrl: string
  /** Where several gateways count the limits of keys together; without it each counts alone. */
  redisUrl?: string | null
  /** Without it the routes of files and batches say what is missing. */
  batch?: BatchOptions | null
  /** Keys are hashed with it: the same one in every gateway, and as long as its keys are to work. */
  secret: string
  host: string
  /** 0 takes a free one. */
  port: number
  log: Logger
}

const loopback = new Set(['127.0.0.1', '::1', 'localhost'])
/** How long open streams may go on after the gateway was told to stop, in milliseconds. */
const drainMs = 5_000

const serverOptions = {
  keepAlive: true,
  noDelay: true,
  keepAliveTimeout: 75_000,
  // The whole of an upload: 200 MB over a line that is not the fastest.
  requestTimeout: 30 * 60_000,
}

/** @throws ConfigError when an open gateway is told to listen beyond loopback. */
export async function startGateway(options: GatewayOptions) {
  const { config, host, log } = options
  refuseOpen(config, host)
  const id = randomUUID()
  const bus = await connectBus({ natsUrl: options.natsUrl, name: `gateway ${id}`, log })
  const tracing = await startTracing('gateway')
  const fleet = watchFleet(bus, log)
  const services = watchServices(bus, log)
  const dispatcher = createDispatcher(bus, await openClaimCheck(bus), id, log)
  const localSessions = await openLocalSessions(bus)
  const secret = createSecret(options.secret)
  const keys = createKeyCache({ bus, log, secret })
  const queues = watchQueues(bus, log)
  const metrics = createMetrics(queues, () => dispatcher.waiting)
  metrics.watchBilling(() => billingLag(bus))
  const batchReports = watchBatchReports(bus, log)
  metrics.watchBatches(batchReports)
  listen(bus, log, channels.softBudget, ({ kind }) => metrics.softBudgetReached(kind))
  const { redisUrl = null } = options
  const redisPolicy = () => gateway.config.penstock.redisLost
  const limiter = await openLimiter({ url: redisUrl, policy: redisPolicy, metrics, log })
  const batch = options.batch ? openBatches(options.batch, { bus, redisUrl, log }) : null
  const kept = await openKeptResponses(bus, log)
  const gateway: Gateway = {
    config,
    bus,
    fleet,
    services,
    dispatcher,
    localSessions,
    queues,
    metrics,
    authenticate: createAuthenticate({ masterKey: config.masterKey, secret, keys }),
    secret,
    keys,
    cache: createAnswerCache({ settings: config.cache, redisUrl, log }),
    idempotency: createIdempotency({
      store: createIdempotencyStore(bus),
      gatewayId: id,
      services,
      log,
    }),
    admission: createAdmission({ bus, fleet, limiter, config: () => gateway.config, log }),
    batch,
    background: createBackground(kept, id, () => gateway),
    tracing,
    log,
  }
  const app = createApp(gateway)
  const server = createServer(serverOptions, app)
  const port = await listening(server, host, options.port)
  const problems = () => [...dispatcher.problems(), ...gateway.admission.problems()]
  const stopHeartbeat = startHeartbeat(bus, 'gateway', id, problems)
  // Until it is heard of again its new requests would be dropped as those of a dead gateway.
  bus.onReconnect(() => {
    broadcast(bus, channels.alive, { service: 'gateway', id, problems: problems() })
  })
  log.info({ host, port, id }, 'gateway listens')

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    /**
     * Another config for the requests that come from now on; those under way keep theirs.
     * @throws ConfigError when it would open a gateway that has a master key or listens beyond loopback
     */
    reload(changed: PenstockConfig) {
      refuseOpen(changed, host)
      refuseOpening(gateway.config, changed)
      gateway.config = changed
      gateway.authenticate = createAuthenticate({ masterKey: changed.masterKey, secret, keys })
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const drained = setTimeout(() => {
        void gateway.background.close()
        dispatcher.close()
        server.closeAllConnections()
      }, drainMs)
      await closed
      clearTimeout(drained)
      await gateway.background.close()
      dispatcher.close()
      await gateway.idempotency.close()
      gateway.cache.close()
      stopHeartbeat()
      fleet.close()
      services.close()
      queues.close()
      batchReports.close()
      keys.close()
      await gateway.admission.close()
      await batch?.close()
      await metrics.close()
      await bus.close()
      await tracing.close()
    },
  }
}

function refuseOpen({ masterKey }: PenstockConfig, host: string): void {
  if (masterKey !== null || loopback.has(host)) return
  const reason = `--host ${host}: without general_settings.master_key the gateway is open to anyone`
  throw new ConfigError([`${reason}. Set a master_key, or listen on 127.0.0.1.`])
}

/** An emptied or half-written file is such an edit, too; and a proxy may stand before loopback. */
function refuseOpening(before: PenstockConfig, changed: PenstockConfig): void {
  if (before.masterKey === null || changed.masterKey !== null) return
  const reason = 'general_settings.master_key is gone, and without it the gateway is open to anyone'
  throw new ConfigError([`${reason} on this machine. Start it anew if that is wanted.`])
}

/** @returns the port. @throws the listen error (EADDRINUSE …) */
function listening(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, 1024, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}

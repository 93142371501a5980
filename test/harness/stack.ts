// All of Penstock in this process, on the real servers of a test file: its services as production
// starts them, each of which can be stopped and started. `close` leaves nothing running.
import { join } from 'node:path'
import { settingsOf, startBilling } from '@penstock/billing-service/start-billing'
import type { RetryPolicy } from '@penstock/gateway/batch/engine/retry'
import { startBatchRunner } from '@penstock/gateway/batch/engine/start-batch-runner'
import { openDiskStorage } from '@penstock/gateway/batch/storage/disk-storage'
import type { Storage } from '@penstock/gateway/batch/storage/storage'
import { startGateway } from '@penstock/gateway/start-gateway'
import { startRouter } from '@penstock/router-service/start-router'
import { connectBus } from '@penstock/shared/bus/connect'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { parseConfig } from '@penstock/shared/config/load'
import type { Logger } from '@penstock/shared/telemetry/log'
import { startWorkers } from '@penstock/workers/start-workers'
import { type Client, createClient } from './client.ts'
import { eventually } from './eventually.ts'
import { createQueues, type Queues } from './queues.ts'
import { type Servers, silent } from './servers.ts'
import { createSpend, type Spend } from './spend.ts'

export type ServiceName = 'gateway' | 'batch' | 'router' | 'worker' | 'billing'

export interface StackOptions {
  servers: Servers
  /** A config.yaml's text, or the same as an object. */
  config: string | object
  /** Where the config's references and the providers' keys are looked up; empty by default. */
  env?: NodeJS.ProcessEnv
  loggerOf?: (service: ServiceName) => Logger
  /** Where files are; by default in the servers' directory. */
  storage?: Storage
  /** How lines of batches are tried again; as in production by default. */
  batchRetry?: RetryPolicy
  /** Instances of each service; one by default, and no runner of batches. */
  count?: Partial<Record<ServiceName, number>>
}

export interface Stack {
  /** The first gateway's. */
  url: string
  /** Of all gateways, the first one first. */
  urls: readonly string[]
  config: PenstockConfig
  warnings: string[]
  /** Speaks to the gateway with the master key. */
  client: Client
  queues: Queues
  spend: Spend
  /** Starts one more. */
  start(service: ServiceName): Promise<void>
  /** Stops all instances of a service. */
  stop(service: ServiceName): Promise<void>
  ready(): Promise<void>
  /** Once or more often. */
  close(): Promise<void>
}

/** What every gateway of the tests hashes keys with. */
export const testSecret = 'the secret of the tests'

/** In the order in which they are stopped. */
const services: readonly ServiceName[] = ['gateway', 'batch', 'router', 'worker', 'billing']

/** Resolves when readiness is green. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { servers, env = {}, loggerOf = () => silent, count = {} } = options
  const { config: given } = options
  // JSON is YAML.
  const text = typeof given === 'string' ? given : JSON.stringify(given)
  const { config, warnings } = parseConfig(text, env)
  const { natsUrl, databaseUrl } = servers
  const running: Record<ServiceName, { close(): Promise<void> }[]> = {
    gateway: [],
    batch: [],
    router: [],
    worker: [],
    billing: [],
  }
  const urls: string[] = []
  const storage = options.storage ?? (await openDiskStorage(join(servers.directory, 'files')))

  const starters: Record<ServiceName, (log: Logger) => Promise<{ close(): Promise<void> }>> = {
    async gateway(log) {
      const redisUrl = servers.redis?.url ?? null
      const batch = { databaseUrl, storage }
      const options = { config, natsUrl, redisUrl, secret: testSecret, batch, port: 0, log }
      const gateway = await startGateway({ ...options, host: '127.0.0.1' })
      urls.push(gateway.url)
      return gateway
    },
    batch(log) {
      const redisUrl = servers.redis?.url ?? null
      const { batchRetry: retry } = options
      const urls = { natsUrl, databaseUrl, redisUrl }
      const common = { config, ...urls, storage, secret: testSecret, log }
      return startBatchRunner(retry === undefined ? common : { ...common, retry })
    },
    router: (log) => startRouter({ config, natsUrl, log }),
    worker: (log) => startWorkers({ config, natsUrl, log, env }),
    billing: (log) => startBilling({ natsUrl, databaseUrl, log, settings: settingsOf(config) }),
  }
  const start = async (service: ServiceName) => {
    running[service].push(await starters[service](loggerOf(service)))
  }
  const stop = async (service: ServiceName) => {
    await Promise.all(running[service].splice(0).map((one) => one.close()))
  }
  const startAll = (service: ServiceName) =>
    Promise.all(
      Array.from({ length: count[service] ?? (service === 'batch' ? 0 : 1) }, () => start(service)),
    )

  // The gateway first: it then hears the others' first heartbeats.
  await startAll('gateway')
  const [url = ''] = urls
  await Promise.all(services.slice(1).map(startAll))
  const bus = await connectBus({ natsUrl, name: 'test', log: silent })
  const client = createClient(url, config.masterKey)
  const closeAll = async () => {
    await bus.close()
    await client.close()
    for (const service of services) await stop(service)
  }
  let closed: Promise<void> | null = null
  const stack: Stack = {
    url,
    urls,
    config,
    warnings,
    client,
    queues: createQueues(bus),
    spend: createSpend(client, servers.db),
    start,
    stop,
    ready: () => untilReady(client),
    close() {
      closed ??= closeAll()
      return closed
    },
  }
  try {
    await stack.ready()
  } catch (error) {
    await stack.close()
    throw error
  }
  return stack
}

/** Resolves when readiness is green. @throws Error with what it lacks, if it is not soon */
export async function untilReady(client: Client): Promise<void> {
  let last: unknown
  await eventually('readiness', async () => {
    const response = await client.get('/health/readiness')
    last = response.json
    return response.status === 200
  }).catch((cause) => {
    throw new Error(`Penstock did not become ready: ${JSON.stringify(last)}`, { cause })
  })
}

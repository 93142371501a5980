// THE table of what the CLI can run alone: its flags and how it starts. Each entry imports only its
// own service, so that a process holds no more code than it runs.
import { setFlagsFromString } from 'node:v8'
import type { LoadedConfig, PenstockConfig } from '@penstock/shared/config/config'
import { loadConfig, parseConfig } from '@penstock/shared/config/load'
import { watchConfig } from '@penstock/shared/config/watch'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Part } from './run-part.ts'
import { secretVariable, serverSecret } from './server-secret.ts'
import { type FlagName, missing, type Settings } from './settings.ts'

export interface PartSpec {
  summary: string
  flags: readonly FlagName[]
  start(settings: Settings, context: PartContext): Promise<Part>
}

export interface PartContext {
  log: Logger
  env: NodeJS.ProcessEnv
  /** The launcher has shown the config's warnings, and gives little time to stop. */
  underLauncher: boolean
}

/** Under the launcher the gateway has drained before the workers are stopped. */
const drainUnderLauncherMs = 1_000
const defaultDrainMs = 7_000
/** What `close` takes besides the drain. */
const closeMarginMs = 2_000

export const parts: Record<string, PartSpec> = {
  gateway: {
    summary: 'answer HTTP requests',
    flags: [
      ...(['config', 'nats', 'database', 'redis', 'host', 'port', 'dataDir'] as const),
      ...(['filesDir', 'filesUrl'] as const),
    ],
    async start(settings, context) {
      const { startGateway } = await import('@penstock/gateway/start-gateway')
      const loaded = await readConfig(settings, context)
      const { redisUrl, host, port } = settings
      const { log } = context
      const natsUrl = natsOf(settings)
      const secret = await secretOf(settings, context)
      const { config } = loaded
      const batch = await batchOf(settings, config, context)
      const options = { config, natsUrl, redisUrl, secret, batch, host, port, log }
      const part = await startGateway(options)
      return following(part, loaded, settings, context)
    },
  },
  batch: {
    summary: 'run the lines of batches',
    flags: [
      ...(['config', 'nats', 'database', 'redis', 'dataDir'] as const),
      ...(['filesDir', 'filesUrl'] as const),
    ],
    async start(settings, context) {
      // Lines live for a second at most: left alone, V8 grows its heap by what they leave behind to
      // twice of what it needs.
      setFlagsFromString('--heap-growing-percent=30')
      setFlagsFromString('--semi-space-growth-factor=1')
      const { startBatchRunner } = await import('@penstock/gateway/batch/engine/start-batch-runner')
      const loaded = await readConfig(settings, context)
      const { config } = loaded
      const batch = await batchOf(settings, config, context)
      if (batch === null) throw missing('database')
      const { redisUrl } = settings
      const { log } = context
      const secret = await secretOf(settings, context)
      const natsUrl = natsOf(settings)
      const part = await startBatchRunner({ config, ...batch, natsUrl, redisUrl, secret, log })
      return following(part, loaded, settings, context)
    },
  },
  router: {
    summary: 'choose a deployment for each request',
    flags: ['config', 'nats'],
    async start(settings, context) {
      const { startRouter } = await import('@penstock/router-service/start-router')
      const loaded = await readConfig(settings, context)
      const { log } = context
      const part = await startRouter({ config: loaded.config, natsUrl: natsOf(settings), log })
      return following(part, loaded, settings, context)
    },
  },
  worker: {
    summary: 'call the providers',
    flags: ['config', 'backend', 'slots', 'nats', 'drain'],
    async start(settings, context) {
      const { startWorkers } = await import('@penstock/workers/start-workers')
      const { log, env, underLauncher } = context
      const { backends, slots } = settings
      const isBare = settings.config === null && backends.length > 0
      const { config, warnings } = isBare
        ? parseConfig('', {})
        : await readConfig(settings, context)
      const drainMs = underLauncher ? drainUnderLauncherMs : (settings.drainMs ?? defaultDrainMs)
      const natsUrl = natsOf(settings)
      const part = await startWorkers({ config, natsUrl, log, env, backends, slots, drainMs })
      const { close } = following(part, { config, warnings }, settings, context)
      return underLauncher ? { close } : { close, closeLimitMs: drainMs + closeMarginMs }
    },
  },
  billing: {
    summary: 'write usage to the ledger and answer questions about it',
    flags: ['config', 'nats', 'database'],
    async start(settings, context) {
      const { startBilling, settingsOf } = await import('@penstock/billing-service/start-billing')
      const { log, env } = context
      const databaseUrl = await databaseOf(settings, env)
      const options = { natsUrl: natsOf(settings), databaseUrl, log }
      if (settings.config === null) return startBilling(options)
      const loaded = await readConfig(settings, context)
      const { reload, close } = await startBilling({
        ...options,
        settings: settingsOf(loaded.config),
      })
      const part = { close, reload: (config: PenstockConfig) => reload(settingsOf(config)) }
      return following(part, loaded, settings, context)
    },
  },
}

/** @throws UsageError */
async function secretOf({ dataDir }: Settings, { env, log }: PartContext): Promise<string> {
  const { secret, path } = await serverSecret(env, dataDir)
  if (path !== null) {
    const message = `API keys are hashed with the secret in ${path}`
    log.warn(`${message}: other gateways need the same one (${secretVariable}).`)
  }
  return secret
}

/** Null without a database: then there are neither files nor batches. */
async function batchOf(
  { databaseUrl, files }: Settings,
  config: PenstockConfig,
  { env }: PartContext,
) {
  const url = databaseUrl ?? config.general.databaseUrl
  if (url === null) return null
  const { openStorage } = await import('@penstock/gateway/batch/storage/storage')
  return { databaseUrl: url, storage: await openStorage(files, env) }
}

/** @throws ConfigError, UsageError */
async function readConfig(
  settings: Settings,
  { log, env, underLauncher }: PartContext,
): Promise<LoadedConfig> {
  if (settings.config === null) throw missing('config')
  const loaded = await loadConfig(settings.config, env)
  if (!underLauncher) for (const warning of loaded.warnings) log.warn(warning)
  return loaded
}

interface Reloadable extends Part {
  /** @throws ConfigError to refuse it */
  reload(config: PenstockConfig): Promise<void> | void
}

/** The part, with the changes of its config file put into effect until it is closed. */
function following(
  part: Reloadable,
  loaded: LoadedConfig,
  { config: path }: Settings,
  { log, env }: PartContext,
): Part {
  if (path === null) return part
  const closing = new AbortController()
  const onChange = (config: PenstockConfig) => part.reload(config)
  watchConfig({ path, env, log, loaded, onChange, signal: closing.signal })
  return {
    close() {
      closing.abort()
      return part.close()
    },
  }
}

function natsOf({ natsUrl }: Settings): string {
  if (natsUrl === null) throw missing('nats')
  return natsUrl
}

/** The flag or the variable, else `general_settings.database_url` of the config. */
export async function databaseOf(settings: Settings, env: NodeJS.ProcessEnv): Promise<string> {
  if (settings.databaseUrl !== null) return settings.databaseUrl
  const inConfig =
    settings.config === null ? null : (await loadConfig(settings.config, env)).config.general
  if (inConfig?.databaseUrl == null) throw missing('database')
  return inConfig.databaseUrl
}

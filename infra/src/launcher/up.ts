// `npm start`: all of Penstock on one machine. Embedded servers, the tables, five services as
// processes of their own, then the banner; everything stops in order, within ten seconds.
import { mkdir } from 'node:fs/promises'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { loadConfig } from '@penstock/shared/config/load'
import { localUrl, tryAddress } from '../process/address.ts'
import { configurationExitCode, describeExit } from '../process/exit.ts'
import { refusalOf } from '../run-part.ts'
import { serverSecret } from '../server-secret.ts'
import type { Settings } from '../settings.ts'
import { bannerLines, listModels } from './banner.ts'
import { configFile } from './config-file.ts'
import { databaseUrl, natsUrl } from './embedded.ts'
import { type Ending, watchForEnd } from './ending.ts'
import { createHousehold, type Household } from './household.ts'
import { type Lock, lockDataDir } from './lock.ts'
import { waitUntilReady } from './ready.ts'
import {
  batchCommand,
  billingCommand,
  migrateCommand,
  type ServiceCommand,
  servingCommands,
} from './services.ts'
import { createTerminal, type Terminal } from './terminal.ts'

const readyLimitMs = 60_000
/** Whatever still hangs then is left to its lifeline. */
const endLimitMs = 9_700

/** Runs until it is told to stop or cannot go on. @returns the exit code; 0: told to stop */
export async function up(settings: Settings, env: NodeJS.ProcessEnv): Promise<number> {
  const terminal = createTerminal(env, process.stdout, process.stderr)
  const ending = watchForEnd(terminal.fail)
  let lock: Lock | null = null
  let household: Household | null = null
  try {
    await mkdir(settings.dataDir, { recursive: true, mode: 0o700 })
    lock = lockDataDir(settings.dataDir)
    household = createHousehold(settings.dataDir, terminal, ending)
    await launch({ settings, env, terminal, ending, household })
  } catch (error) {
    // An ending that has begun makes what is under way fail; its reason stands.
    const refusal = refusalOf(error)
    if (refusal !== null) ending.finish(configurationExitCode, refusal)
    else ending.finish(1, error instanceof Error ? error.message : String(error))
  }
  const code = await ending.reason
  setTimeout(() => process.exit(code), endLimitMs)
  if (household?.hasProcesses) {
    terminal.say('Stopping …')
    terminal.hush()
    await household.stopAll()
    terminal.say('Stopped.')
  }
  lock?.release()
  return code
}

interface Launch {
  settings: Settings
  env: NodeJS.ProcessEnv
  terminal: Terminal
  ending: Ending
  household: Household
}

/** Resolves when the banner is printed. */
async function launch({ settings, env, terminal, ending, household }: Launch): Promise<void> {
  const { dataDir, host } = settings
  const { say } = terminal
  await household.endLeftovers()
  const port = await tryAddress(host, settings.port)
  const configPath = await configFile(settings.config, dataDir, env, say)
  const { config, warnings } = await loadConfig(configPath, env)
  for (const warning of warnings) say(`Warning: ${warning}`)

  const embedding = { dataDir, household, say }
  const nats = natsUrl(settings.natsUrl, embedding)
  const database = databaseUrl(settings.databaseUrl ?? config.general.databaseUrl, embedding)
  const { secret } = await serverSecret(env, dataDir)
  const { redisUrl, files } = settings
  const given = { host, port, configPath, env, secret, redisUrl, files }
  const plan = async () => ({ ...given, natsUrl: await nats, databaseUrl: await database })
  const startServing = async () => {
    for (const command of servingCommands(await plan())) household.keepService(command)
  }
  const startBilling = async () => {
    await migrate(household, migrateCommand(await database, env))
    const known = await plan()
    household.keepService(billingCommand(known))
    household.keepService(batchCommand(known))
  }
  await ending.unlessEnding(Promise.all([startServing(), startBilling()]))

  const baseUrl = localUrl(host, port)
  await untilReady(baseUrl, terminal, ending, household)
  household.serves()
  const models = await listModels(baseUrl, config.masterKey)
  for (const line of bannerLines({
    baseUrl,
    models,
    chatModel: chatModelOf(config, models),
    keyVariable: keyVariableOf(config, env),
    dataDir,
    logDir: household.logDir,
  })) {
    say(line)
  }
}

async function migrate(household: Household, command: ServiceCommand): Promise<void> {
  const exit = await household.runOnce(command)
  if (exit.code === 0) return
  const logs = household.logDir === null ? '' : ` Its log is in ${household.logDir}.`
  throw new Error(`The tables could not be brought up to date (${describeExit(exit)}).${logs}`)
}

async function untilReady(
  baseUrl: string,
  { say }: Terminal,
  { signal, unlessEnding }: Ending,
  { logDir }: Household,
): Promise<void> {
  const listed = (problems: string[]) => problems.map((problem) => `  ${problem}`).join('\n')
  const waiting = waitUntilReady({
    baseUrl,
    limitMs: readyLimitMs,
    signal,
    onSlow: (problems) => say(`Still waiting for:\n${listed(problems)}`),
  })
  const problems = await unlessEnding(waiting)
  if (problems === null) return
  const logs = logDir === null ? '' : `\nLogs: ${logDir}`
  throw new Error(
    `Penstock did not become ready within ${readyLimitMs / 1000} s:\n${listed(problems)}${logs}`,
  )
}

/** A model for the line to paste: not one that only embeds. */
function chatModelOf({ deployments }: PenstockConfig, models: string[]): string | null {
  const chats = (model: string) =>
    !model.includes('embed') &&
    deployments.every(({ group, mode }) => group !== model || mode === null || mode === 'chat')
  return models.find(chats) ?? null
}

/** The variable that the user has the master key in; else the name it usually has. */
function keyVariableOf({ masterKey }: PenstockConfig, env: NodeJS.ProcessEnv): string | null {
  if (masterKey === null) return null
  const named = Object.keys(env).find((name) => env[name] === masterKey && /^\w+$/.test(name))
  return named ?? 'LITELLM_MASTER_KEY'
}

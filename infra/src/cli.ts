// The command line: `up` runs all of Penstock on one machine, the other commands one part of it.
import { createLogger } from '@penstock/shared/telemetry/log'
import { Command } from 'commander'
import { addBatchCommands } from './batch/commands.ts'
import { parentVariable } from './launcher/service-process.ts'
import { databaseOf, type PartSpec, parts } from './parts.ts'
import { configurationExitCode } from './process/exit.ts'
import { onOrphaned, refusalOf, runPart } from './run-part.ts'
import { type FlagName, flags, parseSettings, type Settings } from './settings.ts'

const upFlags: FlagName[] = [
  ...(['config', 'nats', 'database', 'redis', 'host', 'port', 'dataDir'] as const),
  ...(['filesDir', 'filesUrl'] as const),
]

const program = new Command('penstock')
  .description('An LLM gateway with durable queues in front of the GPUs')
  .showHelpAfterError()

addCommand('up', 'all of it on this machine, with embedded servers', upFlags, async (settings) => {
  const { up } = await import('./launcher/up.ts')
  process.exit(await up(settings, process.env))
}).alias('all')

for (const [name, spec] of Object.entries(parts)) {
  const command = addCommand(name, `one part alone: ${spec.summary}`, spec.flags, (settings) =>
    runService(name, spec, settings),
  )
  // Alone it runs batches; with a word it is what people make and follow them with.
  if (name === 'batch') addBatchCommands(command, process.env)
}

addCommand(
  'migrate',
  "bring the database's tables up to date",
  ['config', 'database'],
  runMigration,
)

addCommand(
  'rebuild',
  'hold all totals of spend against the ledger, report every difference and mend it',
  ['config', 'database', 'dryRun'],
  runRebuild,
)

await program.parseAsync()

function addCommand(
  name: string,
  summary: string,
  flagNames: readonly FlagName[],
  run: (settings: Settings) => Promise<void>,
): Command {
  const command = program.command(name).description(summary)
  for (const flagName of flagNames) {
    const { option, meaning, variable, byDefault } = flags[flagName]
    const notes = [
      ...(variable === undefined ? [] : [`or ${variable}`]),
      ...(byDefault === undefined ? [] : [`default ${byDefault}`]),
    ]
    command.option(option, notes.length === 0 ? meaning : `${meaning} (${notes.join('; ')})`)
  }
  return command.action(async (given: Record<string, unknown>) => {
    try {
      await run(parseSettings(given, process.env))
    } catch (error) {
      const refusal = refusalOf(error)
      process.stderr.write(`${refusal ?? (error instanceof Error ? error.message : error)}\n`)
      process.exit(refusal === null ? 1 : configurationExitCode)
    }
  })
}

async function runService(name: string, spec: PartSpec, settings: Settings): Promise<void> {
  const log = createLogger(name)
  const underLauncher = process.env[parentVariable] === '1' && process.connected
  await runPart(log, underLauncher, () =>
    spec.start(settings, { log, env: process.env, underLauncher }),
  )
}

async function runMigration(settings: Settings): Promise<void> {
  onOrphaned(() => process.exit(1))
  const databaseUrl = await databaseOf(settings, process.env)
  const { migrate } = await import('@penstock/billing-service/migrate')
  const { migrateBatches } = await import('@penstock/gateway/batch/store/migrate')
  const applied = [...(await migrate(databaseUrl)), ...(await migrateBatches(databaseUrl))]
  const log = createLogger('migrate')
  log.info({ applied }, applied.length === 0 ? 'the tables are up to date' : 'migrated')
  log.flush(() => process.exit(0))
}

/** Exits with 1 if there was a difference: there should never be one. */
async function runRebuild(settings: Settings): Promise<void> {
  onOrphaned(() => process.exit(1))
  const { dryRun } = settings
  const databaseUrl = await databaseOf(settings, process.env)
  const { rebuild } = await import('@penstock/billing-service/money/rebuild')
  const { differing, differences, ledger_entries, ledger_usd } = await rebuild(databaseUrl, dryRun)
  const log = createLogger('rebuild')
  for (const difference of differences) log.warn(difference, 'a total differs from the ledger')
  const summary = { entries: ledger_entries, ledgerUsd: ledger_usd, differing }
  if (differing === 0) log.info(summary, 'all totals are what the ledger says')
  else log.warn(summary, dryRun ? 'totals differ; nothing was changed' : 'totals differed; mended')
  log.flush(() => process.exit(differing === 0 ? 0 : 1))
}

// `penstock batch …` for people: what can be asked, with which flags. Without one of these words the
// command is the part that runs batches.
import type { Command } from 'commander'
import { configurationExitCode } from '../process/exit.ts'
import { refusalOf } from '../run-part.ts'
import { type BatchAction, type BatchApi, createBatchApi } from './api.ts'
import { BatchError, type BatchExitCode, exitCodes } from './batch-error.ts'
import {
  batchOptions,
  listOptions,
  parseOptions,
  runOptions,
  type ServerOptions,
  summarizeOptions,
} from './options.ts'
import type { Terminal } from './progress.ts'
import { listText, statusText } from './report.ts'

type Given = Record<string, unknown>

const actions: Record<BatchAction, string> = {
  cancel: 'end a batch; what is done stays',
  pause: 'let no more of its lines begin',
  resume: 'let them begin again',
  retry: 'run again the lines whose retries were used up',
}

export function addBatchCommands(batch: Command, env: NodeJS.ProcessEnv): void {
  const run = batch
    .command('run <file>')
    .description('submit a file of requests (JSONL), wait, and fetch the answers')
    .requiredOption('--out <file>', 'where the answers go; errors go beside it')
    .option('--model <name>', 'for the lines that name none')
    .option('--endpoint <path>', 'for the lines that name none (default: what their fields say)')
  withPlan(withServer(run)).action((file: string, given: Given) =>
    ending(async () => {
      const options = parseOptions(runOptions, given, env)
      const { runBatch } = await import('./run.ts')
      return runBatch(file, options, terminalOfProcess())
    }),
  )

  const summarize = batch
    .command('summarize <folder>')
    .description('ask the same about every text of a folder, and write each answer beside its text')
    .requiredOption('--model <name>', 'the model to ask')
    .requiredOption('--prompt-file <file>', 'what to ask; {{text}} and {{name}} are filled in')
    .option('--out-suffix <ending>', "of the answers' names (default .summary.md)")
    .option('--ext <endings>', 'only files with one of these endings, like txt,md')
  withPlan(withServer(summarize)).action((folder: string, given: Given) =>
    ending(async () => {
      const options = parseOptions(summarizeOptions, given, env)
      const { summarizeFolder } = await import('./summarize.ts')
      return summarizeFolder(folder, options, terminalOfProcess())
    }),
  )

  withServer(batch.command('list').description('the newest batches'))
    .option('--limit <number>', 'how many (default 20)')
    .option('--json', 'as the gateway gives them')
    .action((given: Given) => ending(() => list(parseOptions(listOptions, given, env))))

  withServer(batch.command('status <id>').description('how far a batch is'))
    .option('--json', 'as the gateway gives it')
    .action((id: string, given: Given) =>
      ending(() => show(parseOptions(batchOptions, given, env), (api) => api.batch(id))),
    )
  for (const [action, summary] of Object.entries(actions) as [BatchAction, string][]) {
    withServer(batch.command(`${action} <id>`).description(summary))
      .option('--json', 'as the gateway gives it')
      .action((id: string, given: Given) =>
        ending(() => show(parseOptions(batchOptions, given, env), (api) => api.act(id, action))),
      )
  }
}

function withServer(command: Command): Command {
  return command
    .option('--url <url>', "the gateway's (or PENSTOCK_URL; default http://127.0.0.1:4000)")
    .option('--key <key>', 'an API key (better: PENSTOCK_API_KEY, which no process list shows)')
}

function withPlan(command: Command): Command {
  return command
    .option('--completion-window <duration>', 'what is not done by then expires (default 24h)')
    .option('--not-before <moment>', 'no line begins earlier, like 2026-03-01T22:00')
    .option('--window <hours>', 'lines begin only then, like "22:00-06:00 Europe/Berlin"')
    .option('--on-budget-exceeded <what>', 'fail (the default) or wait until there is a new one')
    .option('--cancel-on-interrupt', 'Ctrl-C cancels the batch, instead of leaving it running')
    .option('--fresh', 'forget the batch of the last run and submit a new one')
}

async function list(options: ServerOptions & { limit: number; json: boolean }) {
  const { batches } = await createBatchApi(options).list({ limit: options.limit })
  const text = batches.length === 0 ? 'There are no batches.' : listText(batches)
  process.stdout.write(`${options.json ? JSON.stringify(batches, null, 2) : text}\n`)
  return exitCodes.done
}

async function show(
  options: ServerOptions & { json: boolean },
  ask: (api: BatchApi) => ReturnType<BatchApi['batch']>,
) {
  const batch = await ask(createBatchApi(options))
  const text = options.json ? JSON.stringify(batch, null, 2) : statusText(batch, Date.now())
  process.stdout.write(`${text}\n`)
  return exitCodes.done
}

/** The first Ctrl-C asks; a second one ends the process at once. */
function terminalOfProcess(): Terminal {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (interrupt.signal.aborted) process.exit(exitCodes.interrupted)
      interrupt.abort()
    })
  }
  return { stdout: process.stdout, stderr: process.stderr, signal: interrupt.signal }
}

/** The exit code is set, not forced: what was written is still on its way. */
async function ending(work: () => Promise<BatchExitCode>): Promise<void> {
  try {
    process.exitCode = await work()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`${message}\n`)
    if (error instanceof BatchError) process.exitCode = error.exitCode
    else process.exitCode = refusalOf(error) === null ? exitCodes.failed : configurationExitCode
  }
}

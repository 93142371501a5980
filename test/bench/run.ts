// `npm run bench`: measures Penstock, its upstream without it, and another gateway, in one run on this
// machine. Exits with 1 when an answer was wrong or the ledger is; how fast it was decides nothing.
import { writeFile } from 'node:fs/promises'
import { measureAdmission } from './admission.ts'
import { measureBatches } from './batch.ts'
import { runBench } from './bench.ts'
import { measureLedgerRate } from './ledger-rate.ts'
import { measureMillion } from './million.ts'
import { parseOptions, usage } from './options.ts'
import { reportOf } from './report.ts'
import { failuresOf } from './results.ts'

/** npm changes into the package's directory and keeps in INIT_CWD where the user was. */
const callersDirectory = process.env.INIT_CWD ?? process.cwd()

process.exit(await main())

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2), callersDirectory)
  if (options === null) {
    console.error(usage)
    return 64
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => stop.abort(new Error('stopped')))
  }
  // Whoever started us is gone.
  process.once('disconnect', () => stop.abort(new Error('stopped')))

  const begunAt = performance.now()
  const say = (line: string) => {
    const seconds = ((performance.now() - begunAt) / 1000).toFixed(0)
    console.log(`[${seconds.padStart(3)} s] ${line}`)
  }
  try {
    const results = await runBench({ options, say, signal: stop.signal })
    console.log(`\n${reportOf(results)}`)
    console.log("\nThe router's decisions, without any server:")
    await import('./decide.ts')
    if (options.gateways.penstock) {
      console.log('\nWhat keys add to a request at one connection:')
      console.log((await measureAdmission(stop.signal)).join('\n'))
      console.log(`\n${await measureLedgerRate()}`)
      console.log('\nBatches, to their last line:')
      console.log((await measureBatches(stop.signal)).join('\n'))
    }
    if (options.plan.name === 'full' && options.gateways.penstock) {
      console.log('\nQuestions about a ledger of a million rows:')
      console.log((await measureMillion(stop.signal)).join('\n'))
    }
    if (options.out !== null) await writeFile(options.out, `${JSON.stringify(results, null, 2)}\n`)
    return failuresOf(results).length === 0 ? 0 : 1
  } catch (error) {
    if (stop.signal.aborted) return 130
    console.error(error instanceof Error ? error.message : error)
    return 1
  }
}

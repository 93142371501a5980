// Is this build slower than that one? Runs both on this machine at the same time and loads them in
// turns, in changing order: a machine that drifts drifts for both, and each pair of loads is compared
// within itself. Processor time counts until a build is at rest after its load, so that one that only
// puts work off does not look cheaper.
//
//   node test/bench/versus.ts OTHER_CLONE [--connections 32] [--rounds 12] [--seconds 3]
//                             [--at-most RATIO]
//
// OTHER_CLONE holds another checkout, installed there; its test/bench/penstock.ts must have a
// `startPenstock` like the one here. Given this very clone, it shows what noise alone amounts to.
//
// Exits with 0 when it could measure, whatever it found; 1 if this build's processor time per request
// is more than RATIO times the other's; 64 for a wrong command line; 70 if it could not measure; 130
// if it was stopped.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from './connection.ts'
import { startDirect } from './direct.ts'
import { findLoadGenerator, type LoadGenerator } from './load-generator.ts'
import { loadNow } from './machine.ts'
import { startPenstock } from './penstock.ts'
import { processTree } from './processes.ts'
import { faultOfWhole } from './read-reply.ts'
import { watchResources } from './resources.ts'
import { sum } from './statistics.ts'
import type { Subject } from './subject.ts'
import {
  messageOf,
  type Options,
  parseOptions,
  type StartPenstock,
  startOf,
  usage,
} from './versus-options.ts'
import { excessOf, type Load, type Round, roundLine, versusReport } from './versus-report.ts'

const exitCodes = { exceeded: 1, usage: 64, failed: 70, stopped: 130 }
const thisClone = resolve(import.meta.dirname, '../..')
/** Until a new process runs as fast as it ever will: its code is compiled while it is used. */
const warmUpSeconds = 12
/** At rest: what is used of one core in this time is at most a tenth of it. */
const lookMs = 300
const restingMs = lookMs / 10
const maxLooks = 60
/** What the run as a whole may take: for starting and stopping, and beyond its seconds for each load. */
const startLimitMs = 200_000
const loadGraceMs = 10_000

interface Build {
  name: 'this build' | 'the other build'
  subject: Subject
}

interface Builds {
  ours: Build
  theirs: Build
}

interface Run {
  options: Options
  generator: LoadGenerator
  say(line: string): void
  signal: AbortSignal
}

/**
 * Whatever it started has ended, and its files are gone, when it settles.
 * @throws Error if a build does not start or answer, or if the run is given up
 */
async function compare(startTheirs: StartPenstock, run: Run): Promise<Round[]> {
  const { say, signal } = run
  const scratch = await mkdtemp(join(tmpdir(), 'penstock-versus-'))
  const closers: (() => Promise<void>)[] = []
  const startBuild = async (name: Build['name'], start: StartPenstock, upstream: string) => {
    say(`Starting ${name} …`)
    const directory = join(scratch, name.replaceAll(' ', '-'))
    const subject = await start({ upstream, scratch: directory, profileDir: null, signal })
    closers.push(subject.close)
    return checked({ name, subject }, signal)
  }
  try {
    const upstream = await startDirect(signal)
    closers.push(upstream.close)
    const ours = await startBuild('this build', startPenstock, upstream.origin)
    const theirs = await startBuild('the other build', startTheirs, upstream.origin)
    if (ours.subject.requests.load.body !== theirs.subject.requests.load.body) {
      throw new Error("The two builds' benches ask different things.")
    }
    return await measure({ ours, theirs }, run)
  } finally {
    say('Stopping …')
    for (const close of closers.toReversed()) {
      await close().catch((error: unknown) => say(`Stopping failed: ${error}`))
    }
    // A server that had to be killed may still write for a moment.
    await rm(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }
}

/** @throws Error that tells what is wrong with its answer */
async function checked(build: Build, signal: AbortSignal): Promise<Build> {
  const { name, subject } = build
  const connection = connect(subject.origin, 1, signal)
  try {
    const fault = faultOfWhole(await connection.send(subject.requests.load))
    if (fault !== null) throw new Error(`${name} does not answer as it should: ${fault}`)
    return build
  } finally {
    await connection.close()
  }
}

async function measure(builds: Builds, run: Run): Promise<Round[]> {
  const { options, say } = run
  say('Warming up …')
  const warmUp = await loadBoth(builds, warmUpSeconds, true, run)
  // Tells at once where the system does not tell processor time.
  if (options.atMost !== null) excessOf([warmUp], options.atMost)
  const rounds: Round[] = []
  for (let number = 1; number <= options.rounds; number++) {
    const round = await loadBoth(builds, options.seconds, number % 2 === 1, run)
    rounds.push(round)
    say(`${number} of ${options.rounds}: ${roundLine(round)}`)
  }
  return rounds
}

async function loadBoth(
  { ours, theirs }: Builds,
  seconds: number,
  oursFirst: boolean,
  run: Run,
): Promise<Round> {
  if (oursFirst) {
    const first = await load(ours, seconds, run)
    return { ours: first, theirs: await load(theirs, seconds, run) }
  }
  const first = await load(theirs, seconds, run)
  return { ours: await load(ours, seconds, run), theirs: first }
}

/** @throws Error if a request failed: builds that answer differently cannot be compared */
async function load({ name, subject }: Build, seconds: number, run: Run): Promise<Load> {
  const { options, generator, signal } = run
  const { result, use } = await watchResources(subject.pid, async () => {
    const found = await generator.run({
      origin: subject.origin,
      request: subject.requests.load,
      connections: options.connections,
      durationMs: seconds * 1_000,
      signal,
    })
    if (found.failed > 0 || found.answered === 0) {
      throw new Error(`${name} failed ${found.failed} requests and answered ${found.answered}`)
    }
    if (subject.pid !== null && !(await comesToRest(subject.pid, signal))) {
      throw new Error(`${name} is still busy long after a load`)
    }
    return found
  })
  return {
    requestsPerSecond: result.answered / result.seconds,
    p50: result.p50,
    cpuMicros: Object.fromEntries(
      Object.entries(use.cpuMs).map(([part, ms]) => [part, (ms * 1_000) / result.answered]),
    ),
  }
}

/** Told from outside: to ask it would give it work, and one build more than the other. */
async function comesToRest(pid: number, signal: AbortSignal): Promise<boolean> {
  const usedMs = async () => sum((await processTree(pid)).map(({ cpuMs }) => cpuMs ?? 0))
  let before = await usedMs()
  for (let look = 0; look < maxLooks; look++) {
    await sleep(lookMs, undefined, { signal })
    const now = await usedMs()
    if (now - before <= restingMs) return true
    before = now
  }
  return false
}

/** Milliseconds after which a run with these options has gone wrong. */
function limitOf({ rounds, seconds }: Options): number {
  const loadsMs = (rounds * seconds + warmUpSeconds) * 1_000 + (rounds + 1) * loadGraceMs
  return startLimitMs + 2 * loadsMs
}

async function main(): Promise<number> {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => stop.abort(new Error('stopped')))
  }
  let options: Options
  let startTheirs: StartPenstock
  try {
    options = parseOptions(process.argv.slice(2))
    startTheirs = await startOf(options.otherClone)
  } catch (error) {
    console.error(`${messageOf(error)}\n${usage}`)
    return exitCodes.usage
  }
  const limitMs = limitOf(options)
  const limit = AbortSignal.timeout(limitMs)
  try {
    return await report(startTheirs, options, AbortSignal.any([stop.signal, limit]))
  } catch (error) {
    if (stop.signal.aborted) return exitCodes.stopped
    const reason = `The comparison was given up after ${limitMs / 1_000} s.`
    console.error(limit.aborted ? reason : messageOf(error))
    return exitCodes.failed
  }
}

async function report(start: StartPenstock, options: Options, signal: AbortSignal) {
  const { connections, rounds: wanted, seconds, atMost, otherClone } = options
  const generator = await findLoadGenerator()
  const amount = `${wanted} rounds of ${seconds} s for each build, ${connections} connections`
  console.log(`this build ${thisClone}, other build ${otherClone}`)
  console.log(`${amount}, ${generator.name}, load average before ${loadNow().toFixed(1)}`)
  const begunAt = performance.now()
  const say = (line: string) => {
    const sinceBegin = ((performance.now() - begunAt) / 1_000).toFixed(0)
    console.log(`[${sinceBegin.padStart(3)} s] ${line}`)
  }
  const rounds = await compare(start, { options, generator, say, signal })
  console.log(`\n${versusReport(rounds)}`)
  const excess = atMost === null ? null : excessOf(rounds, atMost)
  if (excess === null) return 0
  console.error(excess)
  return exitCodes.exceeded
}

if (import.meta.main) process.exit(await main())

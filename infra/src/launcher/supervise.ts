// Keeps one process running: when it ends unasked it is started again, after a pause that grows
// from 0.25 s to 10 s and is short again once it has run for 30 s.
import { setTimeout as sleep } from 'node:timers/promises'
import { configurationExitCode, describeExit, type Exit, exitCodeOf } from '../process/exit.ts'

export interface Run {
  pid: number
  /** Resolves when the process has ended; never rejects. */
  exited: Promise<Exit>
  /** Ends the process, by force after `limitMs`; resolves when it has ended. */
  stop(limitMs: number): Promise<void>
}

export interface SuperviseOptions<R extends Run> {
  name: string
  /** @param previous the run before, so that a restart can keep its port; null at first */
  start(previous: R | null): Promise<R>
  say(text: string): void
  /** Aborted when all is to stop: from then on nothing is started again. */
  signal: AbortSignal
  /** The process refused its configuration (exit code 78). @returns whether to give it up */
  onRefusal(name: string): boolean
  pauseMs?: (failures: number) => number
}

export interface Supervisor<R extends Run> {
  name: string
  /** Rejects with what `start` threw if the first start failed; there is no second one then. */
  firstRun: Promise<R>
  /** Ends the process for good, by force after `limitMs`. @returns false if force was needed */
  stop(limitMs: number): Promise<boolean>
}

/** 128 + SIGKILL, which a guard passes on from its server. */
const killedExitCode = 137
const firstPauseMs = 250
const longestPauseMs = 10_000
const settledMs = 30_000

function howOf(end: Exit | { failed: string }): string {
  return 'failed' in end ? `not started: ${end.failed}` : describeExit(end)
}

/** @param failures in a row, from 1 */
export function backoffMs(failures: number): number {
  return Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1))
}

export function supervise<R extends Run>(options: SuperviseOptions<R>): Supervisor<R> {
  const { name, say, pauseMs = backoffMs } = options
  const stopped = new AbortController()
  const stopping = AbortSignal.any([stopped.signal, options.signal])
  const first = Promise.withResolvers<R>()
  // Whoever waits for it sees the rejection; it must not count as unhandled until then.
  first.promise.catch(() => {})
  let current: R | null = null
  let starting: Promise<R> | null = null

  const runOnce = async (): Promise<Exit | { failed: string }> => {
    try {
      starting = options.start(current)
      current = await starting
    } catch (error) {
      first.reject(error)
      return { failed: error instanceof Error ? error.message : String(error) }
    } finally {
      starting = null
    }
    first.resolve(current)
    return current.exited
  }

  const keepRunning = async () => {
    let failures = 0
    while (!stopping.aborted) {
      const startedAt = Date.now()
      const end = await runOnce()
      if (stopping.aborted || current === null) return
      const isRefused = 'code' in end && end.code === configurationExitCode
      if (isRefused && options.onRefusal(name)) return
      failures = Date.now() - startedAt < settledMs ? failures + 1 : 1
      const pause = pauseMs(failures)
      const how = isRefused ? 'it refused its configuration' : howOf(end)
      say(`${name} ended (${how}); starting it again in ${pause / 1000} s`)
      await sleep(pause, null, { signal: stopping }).catch(() => {})
    }
  }
  void keepRunning()

  return {
    name,
    firstRun: first.promise,
    async stop(limitMs) {
      stopped.abort()
      const begun = Date.now()
      const run = await (starting?.catch(() => null) ?? current)
      if (run === null) return true
      await run.stop(Math.max(0, limitMs - (Date.now() - begun)))
      return exitCodeOf(await run.exited) !== killedExitCode
    },
  }
}

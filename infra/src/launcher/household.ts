// All processes that one launcher keeps running, with their logs, and how they end together.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { configurationExitCode, type Exit } from '../process/exit.ts'
import { endLeftover } from '../process/pid-file.ts'
import type { Ending } from './ending.ts'
import { openRotatingFile } from './rotating-file.ts'
import { createServiceLog, type ServiceLog } from './service-log.ts'
import { startService } from './service-process.ts'
import type { ServiceCommand } from './services.ts'
import { stopInOrder } from './stop-in-order.ts'
import { type Run, type SuperviseOptions, type Supervisor, supervise } from './supervise.ts'
import type { Terminal } from './terminal.ts'

/** The order in which all stops: those that take requests first, what they need last. */
const serviceOrder = ['gateway', 'batch', 'router', 'worker', 'billing']
const serverOrder = ['nats', 'postgres']
/** Milliseconds from the reason to end: until no service runs, and until no server does. */
const servicesLimitMs = 7_500
const serversLimitMs = 1_700

export interface Household {
  /** Where the services' logs are; null where they go to stdout. */
  logDir: string | null
  readonly hasProcesses: boolean
  openLog(name: string): ServiceLog
  keepServer<R extends Run>(options: Pick<SuperviseOptions<R>, 'name' | 'start'>): Supervisor<R>
  keepService(command: ServiceCommand): void
  /** Runs a command that ends by itself. */
  runOnce(command: ServiceCommand): Promise<Exit>
  /** Ends the services that a launcher killed before this one left in this data directory. */
  endLeftovers(): Promise<void>
  /** It is ready: from now on a service that refuses its configuration is no reason to end. */
  serves(): void
  stopAll(): Promise<void>
}

export function createHousehold(dataDir: string, terminal: Terminal, ending: Ending): Household {
  const logDir = terminal.json ? null : join(dataDir, 'logs')
  if (logDir !== null) mkdirSync(logDir, { recursive: true, mode: 0o700 })
  const kept = new Map<string, Supervisor<Run>>()
  let isServing = false
  const pidFile = (name: string) => join(dataDir, 'run', `${name}.pid`)

  const openLog = (name: string) =>
    createServiceLog({
      name,
      terminal,
      file: logDir === null ? null : openRotatingFile(join(logDir, `${name}.log`)),
    })

  const keep = <R extends Run>(options: Pick<SuperviseOptions<R>, 'name' | 'start'>) => {
    // Nothing may start once the stop has begun: nobody would end it.
    ending.signal.throwIfAborted()
    const supervisor = supervise<R>({
      ...options,
      say: terminal.say,
      signal: ending.signal,
      onRefusal(name) {
        // An edit that the others refused is no reason to end them: it waits for the next edit.
        if (isServing) return false
        ending.finish(configurationExitCode, `${name} refused its configuration (see above).`)
        return true
      },
    })
    kept.set(options.name, supervisor)
    return supervisor
  }
  const start = (command: ServiceCommand, log: ServiceLog) =>
    startService({ ...command, pidFile: pidFile(command.name), log })

  return {
    logDir,
    get hasProcesses() {
      return kept.size > 0
    },
    openLog,
    keepServer: keep,
    keepService(command) {
      const log = openLog(command.name)
      keep({ name: command.name, start: () => start(command, log) })
    },
    async runOnce(command) {
      ending.signal.throwIfAborted()
      const run = await start(command, openLog(command.name))
      const cancel = () => void run.stop(0)
      ending.signal.addEventListener('abort', cancel, { once: true })
      // While it was being started.
      if (ending.signal.aborted) cancel()
      const exit = await run.exited
      ending.signal.removeEventListener('abort', cancel)
      return exit
    },
    async endLeftovers() {
      await Promise.all(serviceOrder.map((name) => endLeftover(pidFile(name), 'SIGTERM')))
    },
    serves() {
      isServing = true
    },
    async stopAll() {
      const stop = (names: string[], limitMs: number) =>
        stopInOrder(
          names.flatMap((name) => kept.get(name) ?? []),
          limitMs,
          terminal.say,
        )
      await stop(serviceOrder, servicesLimitMs)
      await stop(serverOrder, serversLimitMs)
    },
  }
}

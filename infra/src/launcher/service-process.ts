// One of the four services as a process of its own: `node cli.ts gateway …`. Its IPC channel is its
// lifeline: the service ends when the launcher is gone.
import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { exitOf, settlesWithin } from '../process/exit.ts'
import { writePidFile } from '../process/pid-file.ts'
import type { ServiceLog } from './service-log.ts'
import type { Run } from './supervise.ts'

export interface ServiceSpec {
  /** The CLI's command, also the log's name. */
  name: string
  /** Seen by every user of the machine: no secrets. */
  args: string[]
  env: NodeJS.ProcessEnv
  pidFile: string
  log: ServiceLog
}

const cliFile = fileURLToPath(new URL('../cli.ts', import.meta.url))

/**
 * Room for what one request allocates to die young: a tenth of a busy service's time goes to the
 * garbage collector with Node's default of 16 MB.
 */
const nodeFlags = ['--max-semi-space-size=32']

/** Services under a launcher leave SIGINT to it (see run-part.ts). */
export const parentVariable = 'PENSTOCK_PARENT'

export async function startService(spec: ServiceSpec): Promise<Run> {
  const child = spawn(process.execPath, [...nodeFlags, cliFile, spec.name, ...spec.args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...spec.env, [parentVariable]: '1' },
  })
  const exited = exitOf(child).then(async (exit) => {
    await rm(spec.pidFile, { force: true }).catch(() => {})
    return exit
  })
  if (child.stdout !== null) spec.log.attach(child.stdout, 'stdout')
  if (child.stderr !== null) spec.log.attach(child.stderr, 'stderr')
  const { pid } = child
  if (pid === undefined) throw new Error(`${spec.name} could not be started`)
  // Whoever gave the service up for it would leave it running, and start another one beside it.
  await writePidFile(spec.pidFile, pid).catch(() =>
    spec.log.server.warn('its pid file cannot be written: it ends with its launcher all the same'),
  )
  return {
    pid,
    exited,
    async stop(limitMs) {
      child.kill('SIGTERM')
      if (!(await settlesWithin(exited, limitMs))) child.kill('SIGKILL')
      await exited
    },
  }
}

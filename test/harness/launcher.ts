// `npm start` as a user's terminal runs it: in a process group of its own, with little environment.
// Knows every process of an instance by its data directory, which stands in each one's command line
// or environment.
import { execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Exit, exitOf } from '@penstock/infra/process/exit'
import { type Client, createClient } from './client.ts'
import { eventually } from './eventually.ts'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const readyLimitMs = 90_000

export interface InstanceProcess {
  pid: number
  /** The command line and, as ps prints it, the environment behind it. */
  text: string
}

export interface Instance {
  dataDir: string
  exited: Promise<Exit>
  /** Everything that it printed so far. */
  output(): string
  /** Resolves when the output matches. */
  prints(pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves when it is ready, with a client of its gateway. */
  ready(): Promise<Client>
  /** What a terminal does with Ctrl-C: the signal goes to npm and all it started, at once. */
  signalGroup(signal: NodeJS.Signals): void
  processes(): Promise<InstanceProcess[]>
  /** The one whose command line matches. */
  process(pattern: RegExp): Promise<InstanceProcess>
  /** Resolves when no process of it is left. */
  gone(limitMs: number): Promise<void>
}

/** @param flags besides `--data-dir` */
export function npmStart(dataDir: string, flags: string[], env: NodeJS.ProcessEnv = {}): Instance {
  const child = spawn('npm', ['start', '--', '--data-dir', dataDir, ...flags], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...plainEnvironment(), TEST_INSTANCE: dataDir, ...env },
  })
  const exited = exitOf(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8')
    })
  }

  const processes = () => processesOf(dataDir)
  const prints = async (pattern: RegExp) => {
    const ended = () => child.exitCode !== null || child.signalCode !== null
    const settled = () => output.match(pattern) ?? (ended() ? 'ended' : null)
    const match = await eventually(String(pattern), settled, readyLimitMs).catch(() => 'too late')
    if (typeof match === 'string') throw new Error(`${match}, no ${pattern} in:\n${output}`)
    return match
  }
  return {
    dataDir,
    exited,
    output: () => output,
    prints,
    async ready() {
      const match = await prints(/Penstock is ready at (http:\S+).*Models: /s)
      return createClient(match[1] ?? '', null)
    },
    signalGroup(signal) {
      if (child.pid !== undefined) process.kill(-child.pid, signal)
    },
    processes,
    process: (pattern) =>
      eventually(`a process ${pattern}`, async () =>
        (await processes()).find(({ text }) => pattern.test(text)),
      ),
    async gone(limitMs) {
      let left: InstanceProcess[] = []
      const isGone = async () => {
        left = await processes()
        return left.length === 0
      }
      await eventually(`the end of all processes of ${dataDir}`, isGone, limitMs).catch((cause) => {
        const lines = left.map(({ pid, text }) => `${pid} ${text.slice(0, 200)}`)
        throw new Error(`${cause instanceof Error ? cause.message : cause}\n${lines.join('\n')}`)
      })
    },
  }
}

/**
 * Of our own what npm and the machine need (proxies, caches), but nothing that Penstock acts on:
 * nobody's model server and nobody's keys, so that what is served is what the test says.
 */
function plainEnvironment(): NodeJS.ProcessEnv {
  const acted = /KEY|TOKEN|SECRET|^AWS_|^PENSTOCK_|^OTEL_|_URL$|^NODE_TEST|^npm_|^INIT_CWD$/
  const kept = Object.entries(process.env).filter(([name]) => !acted.test(name))
  return { ...Object.fromEntries(kept), OLLAMA_HOST: 'http://127.0.0.1:1' }
}

/** Zombies do not count: they wait for whoever adopted them. */
async function processesOf(dataDir: string): Promise<InstanceProcess[]> {
  const args = ['axeww', '-o', 'pid=,stat=,command=']
  const { stdout } = await execute('ps', args, { maxBuffer: 64 * 1024 * 1024 })
  return stdout.split('\n').flatMap((line) => {
    const [, pid, state, text] = /^\s*(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? []
    if (pid === undefined || state === undefined || text === undefined) return []
    return text.includes(dataDir) && !state.startsWith('Z') ? [{ pid: Number(pid), text }] : []
  })
}

// Penstock's services as real processes, started by the CLI as production does, on the servers of a
// test file: for tests that kill them. They end with the test's process, whatever becomes of it.
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Exit, exitOf, settlesWithin } from '@penstock/infra/process/exit'
import { connectBus } from '@penstock/shared/bus/connect'
import { parseConfig } from '@penstock/shared/config/load'
import { type Client, createClient } from './client.ts'
import { createQueues, type Queues } from './queues.ts'
import { type Servers, silent } from './servers.ts'
import { createSpend, type Spend } from './spend.ts'
import { type ServiceName, testSecret, untilReady } from './stack.ts'

export interface ServiceProcess {
  service: ServiceName
  pid: number
  exited: Promise<Exit>
  /** The first hundred lines of its log. */
  written: readonly string[]
}

export interface GatewayProcess extends ServiceProcess {
  url: string
  /** As `Processes.client`, of this gateway. */
  client: Client
}

export interface Processes {
  url: string
  /** Speaks to the gateway with the master key. */
  client: Client
  queues: Queues
  spend: Spend
  /** Starts one more; resolves when it says that it takes work. A gateway takes the first one's port. */
  start(service: ServiceName): Promise<ServiceProcess>
  /** Starts a gateway beside the first one. */
  startGateway(): Promise<GatewayProcess>
  ready(): Promise<void>
  /** Resolves when the process has ended. */
  kill(process: ServiceProcess, signal: NodeJS.Signals): Promise<void>
  close(): Promise<void>
}

export interface ProcessesOptions {
  servers: Servers
  config: object
  env?: NodeJS.ProcessEnv
}

const cliFile = fileURLToPath(new URL('../../infra/src/cli.ts', import.meta.url))
/** The line of its log with which each service says that it takes work. */
const readyLines: Record<ServiceName, string> = {
  gateway: 'gateway listens',
  batch: 'batch runner takes jobs',
  router: 'router consumes requests',
  worker: 'worker takes jobs',
  billing: 'billing consumes usage',
}
const stopLimitMs = 12_000
let configs = 0

/** Starts a gateway; the test starts the other services, as many as it wants. */
export async function startProcesses(options: ProcessesOptions): Promise<Processes> {
  const { servers, config } = options
  const configFile = join(servers.directory, `config-${configs++}.yaml`)
  await writeFile(configFile, JSON.stringify(config))
  const env = {
    PATH: process.env.PATH,
    ...options.env,
    NATS_URL: servers.natsUrl,
    DATABASE_URL: servers.databaseUrl,
    PENSTOCK_SECRET: testSecret,
    FILES_DIR: join(servers.directory, 'files'),
  }
  const running = new Map<ServiceProcess, ChildProcess>()
  const clients: Client[] = []
  const { masterKey } = parseConfig(JSON.stringify(config), env).config

  async function launch(service: ServiceName, port: number) {
    const flags = service === 'gateway' ? ['--port', String(port)] : []
    const args = [cliFile, service, '--config', configFile, ...flags]
    // The IPC channel is its lifeline: it closes with this process.
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], env })
    const exited = exitOf(child)
    const { ready, written } = await readyLine(child, exited, readyLines[service])
    const { pid } = child
    if (pid === undefined) throw new Error(`${service} has no process`)
    const started = { service, pid, exited, written }
    running.set(started, child)
    void exited.then(() => running.delete(started))
    return { ...started, port: Number(ready.port) }
  }

  async function startGateway(): Promise<GatewayProcess> {
    const { port, ...started } = await launch('gateway', 0)
    const url = `http://127.0.0.1:${port}`
    const client = createClient(url, masterKey)
    clients.push(client)
    return { ...started, url, client }
  }

  async function stopAll(): Promise<void> {
    await Promise.all(
      [...running].map(async ([{ exited }, child]) => {
        child.kill('SIGTERM')
        if (!(await settlesWithin(exited, stopLimitMs))) child.kill('SIGKILL')
        await exited
      }),
    )
  }

  const { url, client } = await startGateway()
  const bus = await connectBus({ natsUrl: servers.natsUrl, name: 'test', log: silent })
  return {
    url,
    client,
    queues: createQueues(bus),
    spend: createSpend(client, servers.db),
    start: (service) => launch(service, Number(new URL(url).port)),
    startGateway,
    ready: () => untilReady(client),
    async kill({ exited, pid }, signal) {
      process.kill(pid, signal)
      await exited
    },
    async close() {
      await bus.close()
      await Promise.all(clients.map((one) => one.close()))
      await stopAll()
    },
  }
}

/** The first line of the log with this message. @throws Error with what it wrote if it ends first */
async function readyLine(child: ChildProcess, exited: Promise<Exit>, message: string) {
  const written: string[] = []
  const said = new Promise<Record<string, unknown>>((resolve) => {
    for (const input of [child.stdout, child.stderr]) {
      if (input === null) continue
      createInterface({ input }).on('line', (text) => {
        if (written.length < 100) written.push(text)
        if (text.includes(`"msg":"${message}"`)) resolve(JSON.parse(text))
      })
    }
  })
  const ready = await Promise.race([said, exited.then(() => null)])
  if (ready === null) throw new Error(`never said "${message}":\n${written.join('\n')}`)
  return { ready, written }
}

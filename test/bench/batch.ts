// Batches from the end of their validation to their last line, on Postgres and on Redis, with a
// zero-delay upstream; the memory of their runner for a short and a long file; and how busy eight slots
// are kept. `npm run bench` prints it at its end; alone: `node test/bench/batch.ts`. Nothing is asserted.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { batchModel, chatLines, createBatches } from '../e2e/batch-setup.ts'
import { startFakeOpenAi } from '../fakes/openai.ts'
import { type Processes, startProcesses } from '../harness/processes.ts'
import { startServers } from '../harness/servers.ts'
import { plainEnvironment, startChild } from './child-process.ts'

const masterKey = 'sk-of-the-batch-bench'
const backends = ['Postgres', 'Redis'] as const
const short = 1_000
const long = 50_000
const slots = 128
const limitMs = 180_000

const busySlots = 8
const busyLines = 800
const callMs = 40

interface Run {
  linesPerSecond: number
  /** Of the runner, the most it ever held. */
  peakBytes: number
}

/** @returns lines for people */
export async function measureBatches(signal: AbortSignal, lines = long): Promise<string[]> {
  const said: string[] = []
  for (const backend of backends) {
    const isRedis = backend === 'Redis'
    const few = await measure(isRedis, short, signal)
    const many = await measure(isRedis, lines, signal)
    const rate = Math.round(many.linesPerSecond)
    const memory = `${megabytes(few.peakBytes)} with ${short} lines, ${megabytes(many.peakBytes)} with ${lines}`
    said.push(`  ${backend.padEnd(10)} ${rate} lines/s; the runner holds ${memory}`)
  }
  const idle = await measureIdle(signal)
  said.push(`  ${busySlots} slots: ${(idle * 100).toFixed(1)} % below what clients get out of them`)
  return said
}

async function measure(isRedis: boolean, count: number, signal: AbortSignal): Promise<Run> {
  const upstream = await startChild({
    name: 'upstream',
    args: [fileURLToPath(new URL('upstream.ts', import.meta.url))],
    env: plainEnvironment(),
    readyLine: /^listening on (\d+)$/,
    readyLimitMs: 10_000,
    stopLimitMs: 5_000,
    signal,
  })
  try {
    const apiBase = `http://127.0.0.1:${upstream.ready}/batch/run/whole/v1`
    return await withPenstock(isRedis, apiBase, slots, async (penstock, runnerPid) => {
      const linesPerSecond = await run(penstock, count, signal)
      return { linesPerSecond, peakBytes: await peakOf(runnerPid) }
    })
  } finally {
    await upstream.stop()
  }
}

/** How much slower than clients who ask all the time a batch uses the same few slots; 0: not at all. */
async function measureIdle(signal: AbortSignal): Promise<number> {
  const fake = await startFakeOpenAi({ keepCalls: 0, behaviour: { firstTokenDelayMs: callMs } })
  try {
    return await withPenstock(false, fake.url, busySlots, async (penstock) => {
      const asked = await ask(penstock, busyLines, signal)
      return Math.max(0, 1 - (await run(penstock, busyLines, signal)) / asked)
    })
  } finally {
    await fake.close()
  }
}

/** Twice as many clients as slots. @returns requests per second */
async function ask({ client }: Processes, count: number, signal: AbortSignal): Promise<number> {
  const messages = [{ role: 'user', content: 'hello' }]
  let left = count
  const begunAt = performance.now()
  const askAll = async () => {
    while (left-- > 0) {
      signal.throwIfAborted()
      const { status } = await client.post('/v1/chat/completions', { model: batchModel, messages })
      if (status !== 200) throw new Error(`a request failed with ${status}`)
    }
  }
  await Promise.all(Array.from({ length: 2 * busySlots }, askAll))
  return (count * 1_000) / (performance.now() - begunAt)
}

async function withPenstock<T>(
  isRedis: boolean,
  apiBase: string,
  maxParallel: number,
  use: (penstock: Processes, runnerPid: number) => Promise<T>,
): Promise<T> {
  const servers = await startServers({ redis: isRedis })
  try {
    const params = { model: 'openai/x', api_base: apiBase, api_key: 'none' }
    const penstock = await startProcesses({
      servers,
      config: {
        model_list: [
          {
            model_name: batchModel,
            litellm_params: { ...params, max_parallel_requests: maxParallel },
          },
        ],
        general_settings: { master_key: masterKey },
      },
      env: servers.redis === null ? {} : { REDIS_URL: servers.redis.url },
    })
    try {
      const others = ['router', 'worker', 'billing'] as const
      await Promise.all(others.map((service) => penstock.start(service)))
      const runner = await penstock.start('batch')
      await penstock.ready()
      return await use(penstock, runner.pid)
    } finally {
      await penstock.close()
    }
  } finally {
    await servers.close()
  }
}

/** @returns lines per second */
async function run(penstock: Processes, count: number, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted()
  const batches = createBatches(penstock.url, masterKey)
  const id = await batches.submit(chatLines(count))
  await batches.until(id, 'its start', ({ status }) => status !== 'validating')
  const begunAt = performance.now()
  const batch = await batches.ended(id, limitMs)
  const seconds = (performance.now() - begunAt) / 1_000
  if (batch.request_counts.completed !== count) throw new Error(`not all were answered: ${id}`)
  return count / seconds
}

/** Bytes; 0 where the system does not tell. */
async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const [, kilobytes = '0'] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? []
  return Number(kilobytes) * 1_024
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`
}

if (import.meta.main) {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort(new Error('stopped')))
  console.log((await measureBatches(stop.signal, Number(process.argv[2] ?? long))).join('\n'))
}

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { exitOf } from '../process/exit.ts'
import { backoffMs, type Run, type SuperviseOptions, supervise } from './supervise.ts'

/** A real process that does what the script says. */
async function startScript(script: string): Promise<Run> {
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
  const exited = exitOf(child)
  assert.ok(child.pid !== undefined)
  return {
    pid: child.pid,
    exited,
    async stop() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

const forever = 'setInterval(() => {}, 1000)'

/** Supervises with next to no pauses, and lets a test wait for the n-th start. */
function observed(start: (n: number, previous: Run | null) => Promise<Run>) {
  const said: string[] = []
  const refused = Promise.withResolvers<string>()
  const waiting = new Map<number, (run: Run) => void>()
  const ending = new AbortController()
  let starts = 0
  const options: SuperviseOptions<Run> = {
    name: 'worker',
    signal: ending.signal,
    say: (text) => said.push(text),
    onRefusal(name) {
      refused.resolve(name)
      return true
    },
    pauseMs: () => 1,
    async start(previous) {
      const n = ++starts
      const run = await start(n, previous)
      waiting.get(n)?.(run)
      return run
    },
  }
  const run = (n: number) => new Promise<Run>((resolve) => waiting.set(n, resolve))
  return { options, said, refused: refused.promise, run, ending, starts: () => starts }
}

test('a process that was killed is started again, and one line says so', async () => {
  const { options, said, run } = observed(() => startScript(forever))
  const [first, second] = [run(1), run(2)]
  const supervisor = supervise(options)
  const { pid } = await first
  process.kill(pid, 'SIGKILL')
  assert.notEqual((await second).pid, pid)
  assert.deepEqual(said, ['worker ended (SIGKILL); starting it again in 0.001 s'])
  await supervisor.stop(1000)
})

test('a restart knows the run before it', async () => {
  const previous: (number | undefined)[] = []
  const { options, run } = observed((n, before) => {
    previous.push(before?.pid)
    return startScript(n < 3 ? 'process.exit(0)' : forever)
  })
  const [first, second, third] = [run(1), run(2), run(3)]
  const supervisor = supervise(options)
  await third
  assert.deepEqual(previous, [undefined, (await first).pid, (await second).pid])
  await supervisor.stop(1000)
})

test('a restart that fails is tried again', async () => {
  const { options, said, run } = observed(async (n) => {
    if (n === 2) throw new Error('the port is taken')
    return startScript(n === 1 ? 'process.exit(3)' : forever)
  })
  const third = run(3)
  const supervisor = supervise(options)
  await third
  assert.match(said.join('\n'), /exit code 3.*\n.*not started: the port is taken/)
  await supervisor.stop(1000)
})

test('a first start that fails is reported to whoever waits for it, and not tried again', async () => {
  const { options, starts } = observed(async () => {
    throw new Error('no such program')
  })
  const supervisor = supervise(options)
  await assert.rejects(supervisor.firstRun, /no such program/)
  await supervisor.stop(1000)
  assert.equal(starts(), 1)
})

test('exit code 78 is final', async () => {
  const { options, refused, said, starts } = observed(() => startScript('process.exit(78)'))
  const supervisor = supervise(options)
  assert.equal(await refused, 'worker')
  await supervisor.stop(1000)
  assert.equal(starts(), 1)
  assert.deepEqual(said, [])
})

test('what is stopped, or ends when all stops, is not started again', async () => {
  for (const how of ['stop', 'signal'] as const) {
    const { options, said, run, ending, starts } = observed(() => startScript(forever))
    const first = run(1)
    const supervisor = supervise(options)
    const { pid, exited } = await first
    if (how === 'signal') {
      ending.abort()
      process.kill(pid, 'SIGTERM')
      await exited
    }
    assert.equal(await supervisor.stop(1000), how === 'signal')
    assert.equal((await exited).signal, how === 'stop' ? 'SIGKILL' : 'SIGTERM')
    assert.equal(starts(), 1)
    assert.deepEqual(said, [])
  }
})

test('a stop during a start waits for what was started and ends it', async () => {
  const gate = Promise.withResolvers<void>()
  const { options } = observed(async () => {
    await gate.promise
    return startScript(forever)
  })
  const supervisor = supervise(options)
  const stopped = supervisor.stop(5000)
  gate.resolve()
  await stopped
  assert.equal((await (await supervisor.firstRun).exited).signal, 'SIGKILL')
})

test('the pauses double from a quarter of a second to ten seconds', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7, 8, 50].map(backoffMs),
    [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000],
  )
})

// `penstock batch …` as people use it: the real command against all of Penstock. What is interrupted
// goes on, nothing is submitted twice, and every failure says what to do.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { failure } from '../fakes/openai-behaviour.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const cliFile = fileURLToPath(new URL('../../infra/src/cli.ts', import.meta.url))
const masterKey = 'sk-1234-not-to-be-shown'
const outputLine = z.object({
  custom_id: z.string(),
  response: z.object({ status_code: z.int(), body: z.looseObject({}) }),
})
const batchList = z.object({ data: z.array(z.object({ id: z.string(), status: z.string() })) })

let servers: Servers
let stack: Stack
let upstream: FakeOpenAi
let folder: string

before(async () => {
  servers = await startServers()
  upstream = await startFakeOpenAi()
  const litellm_params = { model: 'openai/gpt-4o-mini', api_base: upstream.url, api_key: 'sk-up' }
  stack = await startStack({
    servers,
    config: {
      model_list: [{ model_name: 'llama3', litellm_params }],
      general_settings: { master_key: masterKey },
    },
    count: { batch: 1 },
  })
})
after(async () => {
  await stack?.close()
  await upstream?.close()
  await servers?.close()
})
beforeEach(async () => {
  folder = await mkdtemp(join(servers.directory, 'cli-'))
  upstream.setBehaviour({})
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** Is killed after a minute, whatever it waits for. */
function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [cliFile, 'batch', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PENSTOCK_URL: stack.url,
      PENSTOCK_API_KEY: masterKey,
      PATH: process.env.PATH,
      TMPDIR: servers.directory,
      ...env,
    },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  const written = { stdout: '', stderr: '' }
  let onOutput = () => {}
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk) => {
      written[name] += chunk
      onOutput()
    })
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      onOutput()
      resolve({ code, ...written })
    })
  })
  return {
    ended,
    interrupt: () => child.kill('SIGINT'),
    /** Resolves when it has said so on stderr. */
    said: (what: RegExp) =>
      new Promise<void>((resolve, reject) => {
        onOutput = () => {
          if (what.test(written.stderr)) resolve()
          else if (child.exitCode !== null) reject(new Error(`never said: ${written.stderr}`))
        }
        onOutput()
      }),
  }
}

const batches = async () =>
  batchList.parse((await stack.client.get('/v1/batches?limit=100')).json).data

async function linesOf(path: string) {
  const text = await readFile(path, 'utf8')
  assert.ok(text === '' || text.endsWith('\n'))
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => outputLine.parse(JSON.parse(line)))
}

async function writeInput(lines: readonly object[]): Promise<{ input: string; out: string }> {
  const input = join(folder, 'in.jsonl')
  await writeFile(input, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return { input, out: join(folder, 'out.jsonl') }
}

/** Nobody listens there: it was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  server.close()
  await once(server, 'close')
  return address.port
}

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { promise, open: resolve }
}

test('short lines become a batch, its answers a file, and the same command does not submit again', async () => {
  const { input, out } = await writeInput([
    { prompt: 'one' },
    { custom_id: 'mine', messages: [{ role: 'user', content: 'two' }], temperature: 0 },
    { custom_id: 'full', method: 'POST', url: '/v1/chat/completions', body: { messages: [] } },
  ])
  // An empty list of messages is refused, and by its line.
  const args = ['run', input, '--model', 'llama3', '--out', out]
  const refused = await cli(args).ended
  assert.equal(refused.code, 2)
  assert.match(refused.stdout, /failed/)
  assert.match(refused.stdout, /Line 3: .*messages/)
  await assert.rejects(stat(out))

  upstream.setBehaviour(({ body }) =>
    JSON.stringify(body).includes('three') ? { fault: failure(400, { message: 'I refuse.' }) } : {},
  )
  await writeInput([
    { prompt: 'one' },
    { custom_id: 'mine', messages: [{ role: 'user', content: 'two' }], temperature: 0 },
    { prompt: 'three' },
  ])
  const before = (await batches()).length
  const ran = await cli(args).ended
  assert.equal(ran.code, 1, ran.stderr)
  assert.match(ran.stdout, /completed: 3 lines, 2 answered, 1 failed/)
  assert.match(ran.stdout, /line-3: .*I refuse\./)
  assert.match(ran.stderr, /3\/3 {2}100%/)
  assert.deepEqual(
    (await linesOf(out)).map(({ custom_id }) => custom_id),
    ['line-1', 'mine'],
  )
  const errors = await linesOf(join(folder, 'out.errors.jsonl'))
  assert.deepEqual(
    errors.map(({ custom_id, response }) => [custom_id, response.status_code]),
    [['line-3', 400]],
  )
  const again = await cli(args).ended
  assert.equal(again.code, 1)
  assert.equal(again.stdout, ran.stdout)
  assert.equal((await batches()).length, before + 1)
  for (const { stdout, stderr } of [refused, ran, again]) {
    assert.doesNotMatch(stdout + stderr, new RegExp(masterKey))
  }
  assert.doesNotMatch(await readFile(`${out}.penstock.json`, 'utf8'), new RegExp(masterKey))
  assert.deepEqual((await readdir(folder)).sort(), [
    'in.jsonl',
    'out.errors.jsonl',
    'out.jsonl',
    'out.jsonl.penstock.json',
  ])
})

test('Ctrl-C leaves the batch running, and the same command fetches its answers', async () => {
  const { input, out } = await writeInput([{ prompt: 'slow' }, { prompt: 'slower' }])
  const held = gate()
  upstream.setBehaviour({ gate: held.promise })
  const args = ['run', input, '--model', 'llama3', '--out', out]
  const first = cli(args)
  await first.said(/0\/2/)
  // A second one at the same time would be one too many.
  const second = await cli(args).ended
  assert.equal(second.code, 2)
  assert.match(second.stderr, /Another `penstock batch` is at work/)
  first.interrupt()
  const { code, stderr } = await first.ended
  assert.equal(code, 130)
  const [id = ''] = /batch_\w+(?= goes on)/.exec(stderr) ?? []
  assert.ok((await batches()).some((batch) => batch.id === id && batch.status === 'in_progress'))
  const before = (await batches()).length

  const status = await cli(['status', id]).ended
  assert.match(status.stdout, /in_progress {2}░{20} 0\/2/)
  // With another input the first one's answers would be lost sight of.
  const other = join(folder, 'other.jsonl')
  await writeFile(other, '{"prompt":"other"}\n')
  const refused = await cli(['run', other, '--model', 'llama3', '--out', out]).ended
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /of another input, still runs/)

  const resumed = cli(args)
  await resumed.said(new RegExp(`Going on with ${id}`))
  held.open()
  assert.equal((await resumed.ended).code, 0)
  assert.equal((await linesOf(out)).length, 2)
  assert.equal((await batches()).length, before)
})

test('--cancel-on-interrupt ends the batch, and fetches what was done', async () => {
  const { input, out } = await writeInput([{ prompt: 'quick' }, { prompt: 'stuck' }])
  const held = gate()
  upstream.setBehaviour(({ body }) =>
    JSON.stringify(body).includes('stuck') ? { gate: held.promise } : {},
  )
  const { finished } = upstream.counts
  const running = cli(['run', input, '--model', 'llama3', '--out', out, '--cancel-on-interrupt'])
  await upstream.until((counts) => counts.finished > finished)
  await running.said(/[01]\/2/)
  running.interrupt()
  const { code, stdout } = await running.ended
  held.open()
  assert.equal(code, 130)
  assert.match(stdout, /cancelled/)
  const done = await linesOf(out)
  const text = await readFile(join(folder, 'out.errors.jsonl'), 'utf8')
  assert.equal(done.length + text.trimEnd().split('\n').length, 2)
})

test('pause and resume are words of the command', async () => {
  const { input, out } = await writeInput([{ prompt: 'later' }])
  const notBefore = '2999-01-01T00:00'
  const tooLate = await cli([
    'run',
    input,
    '--model',
    'llama3',
    '--out',
    out,
    '--not-before',
    notBefore,
  ]).ended
  assert.match(tooLate.stderr, /not_before/)
  const held = gate()
  upstream.setBehaviour({ gate: held.promise })
  const running = cli(['run', input, '--model', 'llama3', '--out', out])
  await running.said(/Submitted as batch_/)
  const [id = ''] = (await batches()).map((batch) => batch.id)
  const paused = await cli(['pause', id]).ended
  assert.match(paused.stdout, /paused/)
  const listed = await cli(['list', '--limit', '1']).ended
  assert.match(listed.stdout, new RegExp(`^${id} {2}(paused|validating)`))
  const resumed = await cli(['resume', id, '--json']).ended
  assert.equal(
    z.looseObject({ paused: z.boolean() }).parse(JSON.parse(resumed.stdout)).paused,
    false,
  )
  held.open()
  assert.equal((await running.ended).code, 0)
  const tooLateToCancel = await cli(['cancel', id]).ended
  assert.equal(tooLateToCancel.code, 2)
  assert.match(tooLateToCancel.stderr, /is completed: it cannot be cancelled/)
})

test('every text of a folder gets its summary beside it, and only what changed is asked again', async () => {
  const prompt = join(folder, 'prompt.txt')
  const texts = join(folder, 'texts')
  await mkdir(join(texts, 'deeper'), { recursive: true })
  await writeFile(prompt, 'Summarize {{name}}: {{text}}')
  await writeFile(join(texts, 'a.txt'), 'the text {{name}} of a')
  await writeFile(join(texts, 'deeper', 'b.md'), 'the text of b')
  await writeFile(join(texts, 'picture.png'), Buffer.from([137, 80, 0, 1]))
  await writeFile(join(texts, '.hidden'), 'not this')
  const args = ['summarize', texts, '--model', 'llama3', '--prompt-file', prompt]
  const asked = () => upstream.calls.map(({ body }) => JSON.stringify(body.messages))
  const before = asked().length
  const held = gate()
  upstream.setBehaviour({ gate: held.promise })
  const first = cli(args)
  await first.said(/0\/2/)
  first.interrupt()
  const left = await first.ended
  assert.equal(left.code, 130)
  assert.match(left.stderr, /Skipped picture\.png: binary\./)

  const resumed = cli(args)
  await resumed.said(/Going on with batch_/)
  held.open()
  const { code, stdout, stderr } = await resumed.ended
  assert.equal(code, 0, stderr)
  assert.match(stdout, /Wrote 2 files/)
  assert.deepEqual(
    asked().slice(before).sort(),
    ['Summarize a.txt: the text {{name}} of a', 'Summarize deeper/b.md: the text of b'].map(
      (content) => JSON.stringify([{ role: 'user', content }]),
    ),
  )
  assert.match(await readFile(join(texts, 'a.txt.summary.md'), 'utf8'), /^tok0 tok1.*\n$/)
  assert.ok((await readFile(join(texts, 'deeper', 'b.md.summary.md'), 'utf8')).length > 0)

  const idle = await cli(args).ended
  assert.equal(idle.code, 0)
  assert.match(idle.stdout, /Nothing to do/)
  const later = new Date(Date.now() + 1_000)
  await utimes(join(texts, 'a.txt'), later, later)
  assert.match((await cli(args).ended).stdout, /Wrote 1 file /)
  assert.equal(asked().length, before + 3)
  assert.deepEqual((await readdir(texts)).sort(), [
    '.hidden',
    'a.txt',
    'a.txt.summary.md',
    'deeper',
    'picture.png',
  ])
})

test('what goes wrong before anything is submitted is said with what to do', async () => {
  const { input, out } = await writeInput([{ prompt: 'one' }])
  const args = ['run', input, '--model', 'llama3', '--out', out]
  const noModel = args.filter((arg) => arg !== '--model' && arg !== 'llama3')
  const broken = join(folder, 'broken.jsonl')
  await writeFile(broken, Buffer.from('{"prompt":"fine"}\n{"prompt"\n\n\xff\n{"a":1}\n', 'latin1'))
  const before = (await batches()).length
  const port = await closedPort()
  const cases: [string[], NodeJS.ProcessEnv, RegExp][] = [
    [
      args,
      { PENSTOCK_URL: `http://127.0.0.1:${port}` },
      /cannot be reached \(ECONNREFUSED\)[\s\S]*npm start/,
    ],
    [
      args,
      { PENSTOCK_API_KEY: 'sk-wrong-wrong-wrong' },
      /another API key[\s\S]*Check PENSTOCK_API_KEY/,
    ],
    [args, { PENSTOCK_API_KEY: '' }, /another API key[\s\S]*Set PENSTOCK_API_KEY/],
    [['run', input, '--model', 'gpt-9', '--out', out], {}, /no model `gpt-9`. There are: llama3\./],
    [noModel, {}, /Line 1 names no model: name one for all with --model\./],
    [
      ['run', broken, '--model', 'llama3', '--out', out],
      {},
      /Line 2 is not valid JSON\.\nLine 4 is not valid UTF-8\.\nLine 5 has none of/,
    ],
    [
      ['run', join(folder, 'none'), '--model', 'llama3', '--out', out],
      {},
      /cannot be read \(ENOENT\)/,
    ],
    [['status', 'batch_none'], {}, /no batch `batch_none`/],
  ]
  await Promise.all(
    cases.map(async ([given, env, expected], index) => {
      // Each with an output of its own: one command at a time may write to one.
      const own = given.map((arg) => (arg === out ? `${out}-${index}` : arg))
      const { code, stderr } = await cli(own, env).ended
      assert.match(stderr, expected)
      assert.equal(code, 2, stderr)
    }),
  )
  const usage = await cli([...args, '--window', 'at night']).ended
  assert.equal(usage.code, 78)
  assert.match(usage.stderr, /^--window must be hours like/)
  assert.equal((await batches()).length, before)
})

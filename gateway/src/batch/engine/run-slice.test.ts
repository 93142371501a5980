import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createInFlight, createRoom, type InFlight } from './in-flight.ts'
import type { LiveBatch } from './live-batch.ts'
import { runSlice } from './run-slice.ts'
import type { Runner } from './runner.ts'

const lineOf = (model: string, customId: unknown = 'a', size = 2) => {
  const body = { model, messages: [{ role: 'user', content: 'x'.repeat(size) }] }
  const line = { custom_id: customId, method: 'POST', url: '/v1/chat/completions', body }
  return `${JSON.stringify(line)}\n`
}

/** Runs the slice of an input file until `stop`. Nobody serves any model. */
function runnerOf(
  file: string,
  stop: AbortSignal,
  inFlight: InFlight,
  inputRoom = createRoom(() => 1),
) {
  const bytes = Buffer.from(file)
  const batch = {
    row: { batch_id: 'b', input_file_id: 'f', endpoint: '/v1/chat/completions', by_admin: true },
    get phase() {
      return stop.aborted ? 'rest' : 'run'
    },
    running: stop,
    ended: stop,
    hold() {},
  } as unknown as LiveBatch
  const slice = { slice: 0, first_line: 1, byte_offset: '0', byte_length: `${bytes.length}` }
  return {
    batch: async () => batch,
    db: fakeDatabase({ ...slice, version: 0, finished: [] }),
    storage: { read: async () => Readable.from([bytes]) },
    inputRoom,
    inFlight,
    config: { groups: [], router: { modelGroupAlias: {} } },
    fleet: { aliases: {}, groups: () => ['m', 'other'] },
    keys: {},
    log: { error() {}, debug() {} },
    counts: { completed: 0, failed: 0, dead: 0 },
  } as unknown as Runner
}

test('a line that fails while another one waits for its place is no unhandled rejection', async (t) => {
  const unhandled: unknown[] = []
  const note = (cause: unknown) => unhandled.push(cause)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))

  const stop = new AbortController()
  const inFlight = createInFlight(() => 0)
  for (let n = 0; n < 4; n++) await inFlight.enter('m', stop.signal)
  // Checked by another version, which let the first one through.
  const file = lineOf('m', 7) + lineOf('m') + lineOf('m')
  const run = runSlice(runnerOf(file, stop.signal, inFlight), 'b', 0).then(
    () => null,
    (cause: Error) => cause.message,
  )
  await sleep(50)
  stop.abort()
  assert.match((await run) ?? '', /custom_id/)
  assert.deepEqual(unhandled, [])
})

test('long lines of a model that nobody serves keep no short ones of another from their turn', async () => {
  const stop = new AbortController()
  const inner = createInFlight(() => 0)
  for (const group of ['m', 'other']) {
    for (let n = 0; n < 4; n++) await inner.enter(group, stop.signal)
  }
  const asked: string[] = []
  const inFlight: InFlight = {
    ...inner,
    enter(group, signal) {
      asked.push(group)
      return inner.enter(group, signal)
    },
  }
  const room = createRoom(() => 300_000)
  const long = runnerOf(lineOf('m', 'a', 200_000), stop.signal, inFlight, room)
  const runs = [runSlice(long, 'b', 0), runSlice(long, 'b', 0)]
  await sleep(50)
  runs.push(runSlice(runnerOf(lineOf('other'), stop.signal, inFlight, room), 'c', 0))
  await sleep(50)
  stop.abort()
  assert.deepEqual(await Promise.all(runs), [false, false, false])
  assert.deepEqual(asked, ['m', 'other'])
})

function fakeDatabase(row: object): Runner['db'] {
  const executor = {
    transformQuery: (node: unknown) => node,
    compileQuery: () => ({}),
    executeQuery: async () => ({ rows: [row] }),
  }
  return { getExecutor: () => executor } as unknown as Runner['db']
}

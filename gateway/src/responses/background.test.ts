import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import { newResponseId } from '@penstock/shared/dialects/responses/response-ids'
import pino from 'pino'
import type { AnswerSink } from '../answer.ts'
import type { Gateway } from '../gateway.ts'
import { type Background, createBackground } from './background.ts'
import type { BackgroundJob } from './background-job.ts'
import type { KeptResponses } from './kept-responses.ts'

/** What became of what is kept, in order. */
let told: string[]
let sinks: AnswerSink[]
/** What NATS says to the next writes of events. */
let refuses: { code: number } | null
let add: () => Promise<void>
let background: Background

beforeEach(() => {
  told = []
  sinks = []
  refuses = null
  add = async () => {}
  let seq = 0
  const publish = async () => {
    if (refuses !== null) throw refuses
    return { seq: ++seq }
  }
  const gateway = {
    bus: { js: { publish }, nc: { isClosed: () => false } },
    config: { requestTimeoutMs: 60_000 },
    admission: {
      admit: () => ({ allowedGroups: null, answerLimit: null, settled: () => {} }),
    },
    dispatcher: {
      send(_request: unknown, _body: unknown, sink: AnswerSink) {
        sinks.push(sink)
        return () => {}
      },
    },
    metrics: { answered: () => {} },
    tracing: { start: () => null },
    log: pino({ level: 'silent' }),
  } as unknown as Gateway
  const note = (what: string) => async () => void told.push(what)
  const kept = {
    store: {
      put: async (_id: string, kind: string) => void told.push(`put ${kind}`),
      removeJob: note('remove job'),
      remove: note('remove all'),
    },
    running: {
      all: () => [],
      add: () => add(),
      remove: note('remove mark'),
      release: note('release'),
      onChange: () => () => {},
      close: () => {},
    },
  } as unknown as KeptResponses
  background = createBackground(kept, 'g1', () => gateway)
})
afterEach(() => background.close())

function job(): BackgroundJob {
  const envelope = {
    operation: 'chat',
    model: 'm',
    group: 'm',
    correlationId: 'c',
    promptTokens: 1,
  }
  const request = { model: 'm', input: [], background: true }
  const body = { model: 'm', input: 'x', background: true, stream: true }
  const rest = { owner: '', input: [], envelope, keyFacts: null, traceparent: null }
  const made = { id: newResponseId(), createdAt: 1, request, body, ...rest }
  return made as unknown as BackgroundJob
}

/** Lets what was resolved meanwhile run on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
const end = { head: null, usage: noUsage, startedAt: 1, endedAt: 2 }

test('a response that ended has its record, its last event and no mark any more', async () => {
  await background.begin(job())
  told.length = 0
  sinks[0]?.onEnd(null, Buffer.from(''), end)
  await settled()
  assert.deepEqual(told, ['put record', 'remove job', 'remove mark'])
})

test('one that another gateway took over ends here without touching what is its now', async () => {
  await background.begin(job())
  told.length = 0
  refuses = { code: 10_071 }
  sinks[0]?.onEnd(null, Buffer.from(''), end)
  await settled()
  assert.deepEqual(told, [])
})

test('one that could not begin is not kept, so that a repeat begins it', async () => {
  add = () => Promise.reject(new PenstockError('service_unavailable', 'Try again.'))
  await assert.rejects(background.begin(job()), { code: 'service_unavailable' })
  assert.deepEqual(told, ['put record', 'put job', 'remove all'])
  assert.equal(sinks.length, 0)
})

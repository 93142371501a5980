import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Bus } from '@penstock/shared/bus/connect'
import { encodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import { channels } from '@penstock/shared/contracts/channels'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import { usageBatch } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import { createReclaimer } from './reclaim.ts'

const subject = channels.work.subject('d1')
const message = encodeEnvelope(
  {
    ...{ id: 'r1', correlationId: 'c1', operation: 'chat', stream: false, includeUsage: false },
    ...{ requestedModel: 'm', model: 'm', group: 'm', gatewayId: 'g1', replyTo: 'x' },
    ...{ receivedAt: 0, deadline: Number.MAX_SAFE_INTEGER, waitsIn: 'm', rank: 0, sharer: 's' },
    ...{ weight: 1, local: false, maxQueueWaitMs: null, promptTokens: 1, maxTokens: null },
    ...{
      prefixes: [],
      tags: [],
      sessionId: null,
      storePrompts: false,
      allowedGroups: null,
      answerLimit: null,
      body: { kind: 'inline' },
      history: [],
    },
    ...{ deploymentId: 'd1', servingGroup: 'm', servingModel: 'm', routedAt: 0, reasons: [] },
    caller: { keyId: null, userId: null, teamId: null, endUser: null },
    mayHaveRun: false,
  },
  Buffer.from('{}'),
)

/**
 * A reclaimer, a stream that holds one job which a worker began and lost, and the gateway that waits.
 * `refusals`: what the next messages are answered with, though they are stored; null: confirmed.
 */
function onLostJob(t: TestContext, refusals: (ErrorCode | null)[]) {
  t.mock.timers.enable({ apis: ['Date', 'setInterval'] })
  const attempts: number[] = []
  const givenBack: string[] = []
  const job = { deliveries: 1, acks: 0, naks: 0 }
  const delivery = () => {
    job.deliveries += 1
    return {
      data: message,
      info: { deliveryCount: job.deliveries },
      working() {},
      ack() {
        job.acks += 1
      },
      nak() {
        job.naks += 1
      },
    }
  }
  const bus = {
    connected: true,
    jsm: {
      streams: { info: async () => ({ state: { subjects: { [subject]: 1 } } }) },
      consumers: { info: async () => ({}) },
    },
    js: { consumers: { get: async () => ({ fetch: async () => [delivery()] }) } },
    nc: {
      request: async () => ({ data: Buffer.from('{"state":"waiting","tokensSeen":3}') }),
    },
    publisher: {
      async publish(to: string, data: Uint8Array, { msgId }: { msgId?: string }) {
        if (to === channels.usage.subject()) {
          const events = usageBatch.parse(JSON.parse(Buffer.from(data).toString()))
          attempts.push(...events.map(({ attempt }) => attempt))
        } else givenBack.push(msgId ?? '')
        const refusal = refusals.shift() ?? null
        if (refusal !== null) throw new PenstockError(refusal, 'No.')
      },
    },
  }
  const reclaimer = createReclaimer({
    bus: bus as unknown as Bus,
    log: pino({ level: 'silent' }),
    isAlive: () => false,
    lastInfo: () => undefined,
    isMine: () => true,
  })
  /** Looks once more, when the deployment has long been without a worker. */
  const run = async () => {
    await reclaimer.run()
    t.mock.timers.tick(4_000)
  }
  return { run, job, attempts, givenBack }
}

test('usage whose confirmation is lost is sent again under the same attempt', async (t) => {
  const { run, job, attempts, givenBack } = onLostJob(t, ['service_unavailable'])
  await run()
  await run()
  assert.deepEqual(attempts, [1, 1])
  assert.deepEqual([job.acks, job.naks, job.deliveries], [1, 0, 2])
  assert.deepEqual(givenBack, ['r1:1'])
})

for (const [what, refusals] of [
  ['usage', ['queue_full']],
  ['the request', [null, 'queue_full']],
] as const) {
  test(`a job comes back when the queue refuses ${what}, and books no second attempt`, async (t) => {
    const { run, job, attempts, givenBack } = onLostJob(t, [...refusals])
    await run()
    await run()
    assert.deepEqual([job.acks, job.naks], [0, 1])
    await run()
    assert.deepEqual([job.acks, job.naks], [1, 1])
    assert.deepEqual([...new Set(attempts)], [1])
    assert.deepEqual([...new Set(givenBack)], ['r1:1'])
  })
}

test('a worker that ran it between two looks has an attempt of its own', async (t) => {
  const { run, job, attempts } = onLostJob(t, ['queue_full'])
  await run()
  await run()
  job.deliveries += 1
  await run()
  assert.deepEqual(attempts, [1, 3])
})

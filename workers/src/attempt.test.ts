import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { decodeFrame, frameEnd } from '@penstock/shared/bus/frame-codec'
import { interruptedUsage } from '@penstock/shared/bus/recovery'
import { jobOutcome } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { ranks, type WorkEnvelope } from '@penstock/shared/contracts/request'
import { noUsage, type UsageEvent } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import { Attempt } from './attempt.ts'
import { work } from './fixtures/work.ts'
import { testCall } from './providers/provider-test-kit.ts'
import { resolveDeployment } from './resolved-deployment.ts'
import type { WorkerContext } from './run-job.ts'

const none = new Uint8Array(0)

/** An attempt at noon whose frames are kept and whose usage is stored at once. */
function attemptAtNoon(t: TestContext, changes: Partial<WorkEnvelope> = {}) {
  const noon = Date.UTC(2026, 0, 1, 12)
  t.mock.timers.enable({ apis: ['Date'], now: noon })
  const frames: Uint8Array[] = []
  const stored: UsageEvent[] = []
  const ctx = {
    workerId: 'w1',
    bus: { outbox: { publish: (_: string, frame: Uint8Array) => void frames.push(frame) } },
    finished: { note() {} },
    usage: {
      async publish(event: UsageEvent, onSent?: () => void) {
        stored.push(event)
        onSent?.()
      },
    },
    tracing: { start: () => null },
    log: pino({ level: 'silent' }),
  }
  const { deployment } = testCall({}, { deployment: { model: 'sim/lorem' } })
  const target = resolveDeployment(deployment, {})
  const attempt = new Attempt(ctx as unknown as WorkerContext, target, work(changes), 1, null)
  attempt.begin()
  const moveClock = (ms: number) => t.mock.timers.setTime(noon + ms)
  return { attempt, frames, stored, moveClock }
}

test('a clock that is set back makes no time negative', async (t) => {
  const { attempt, frames, moveClock } = attemptAtNoon(t)
  moveClock(-60_000)
  attempt.emit(Buffer.from('data: {}\n\n'))
  moveClock(-90_000)
  const outcome = await attempt.succeed({ body: null, usage: noUsage })
  assert.deepEqual(jobOutcome.parse(outcome), {
    error: null,
    ms: 0,
    ttftMs: 0,
    promptTokens: 0,
    completionTokens: 0,
  })
  const [first] = frames
  assert.ok(first !== undefined)
  assert.equal(JSON.parse(Buffer.from(decodeFrame(first).meta).toString()).upstreamMs, 0)
})

test('nor does it when the attempt fails', async (t) => {
  const { attempt, moveClock } = attemptAtNoon(t)
  moveClock(-60_000)
  const outcome = await attempt.fail(new PenstockError('upstream_error', 'No.').info)
  assert.deepEqual([jobOutcome.parse(outcome).ms, outcome.ttftMs], [0, null])
})

test('its times are those of the clock', async (t) => {
  const { attempt, moveClock } = attemptAtNoon(t)
  moveClock(20)
  attempt.emit(Buffer.from('data: {}\n\n'))
  moveClock(50)
  const { ms, ttftMs } = await attempt.succeed({ body: null, usage: noUsage })
  assert.deepEqual([ms, ttftMs], [50, 20])
})

test('a batch line is billed as one, unless the upstream names a tier', async (t) => {
  const rateOf = async (rank: number, usage = noUsage) => {
    const { attempt, stored, frames } = attemptAtNoon(t, { rank })
    await attempt.succeed({ body: Buffer.from('{}'), usage })
    const end = frameEnd.parse(
      JSON.parse(Buffer.from(decodeFrame(frames[0] ?? none).meta).toString()),
    )
    // The gateway reckons with what the ledger will say.
    assert.equal(end.usage.rate, stored[0]?.usage.rate)
    t.mock.timers.reset()
    return end.usage.rate
  }
  assert.equal(await rateOf(ranks.batch), 'batch')
  assert.equal(await rateOf(ranks.batch, { ...noUsage, rate: 'flex' }), 'flex')
  assert.equal(await rateOf(ranks.flex + 400), undefined)
})

test('so is one whose worker was lost', () => {
  const cutOff = { attempt: 1, completionTokens: 3, workerId: 'w1' }
  const rateOf = (rank: number) => interruptedUsage(work({ rank }), undefined, cutOff).usage.rate
  assert.deepEqual([rateOf(ranks.batch), rateOf(ranks.default)], ['batch', undefined])
})

test('a stream that was cut off is counted in the tier that it named', async (t) => {
  const { attempt, stored } = attemptAtNoon(t)
  const chunk = { choices: [{ delta: { content: 'one two' } }], service_tier: 'priority' }
  attempt.read({ messages: [{ role: 'user', content: 'Count.' }] }, none, null)
  attempt.emit(Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
  await attempt.fail(new PenstockError('client_closed_request', 'Left.').info)
  const { rate, estimated, completionTokens } = stored[0]?.usage ?? noUsage
  assert.deepEqual([rate, estimated, completionTokens], ['priority', true, 2])
})

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { decodeFrame } from '@penstock/shared/bus/frame-codec'
import { jobOutcome } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import { Attempt } from './attempt.ts'
import { work } from './fixtures/work.ts'
import { testCall } from './providers/provider-test-kit.ts'
import { resolveDeployment } from './resolved-deployment.ts'
import type { WorkerContext } from './run-job.ts'

/** An attempt at noon whose frames are kept and whose usage is stored at once. */
function attemptAtNoon(t: TestContext) {
  const noon = Date.UTC(2026, 0, 1, 12)
  t.mock.timers.enable({ apis: ['Date'], now: noon })
  const frames: Uint8Array[] = []
  const ctx = {
    workerId: 'w1',
    bus: { outbox: { publish: (_: string, frame: Uint8Array) => void frames.push(frame) } },
    finished: { note() {} },
    usage: {
      async publish(_: unknown, onSent?: () => void) {
        onSent?.()
      },
    },
    tracing: { start: () => null },
    log: pino({ level: 'silent' }),
  }
  const { deployment } = testCall({}, { deployment: { model: 'sim/lorem' } })
  const target = resolveDeployment(deployment, {})
  const attempt = new Attempt(ctx as unknown as WorkerContext, target, work(), 1, null)
  attempt.begin()
  const moveClock = (ms: number) => t.mock.timers.setTime(noon + ms)
  return { attempt, frames, moveClock }
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

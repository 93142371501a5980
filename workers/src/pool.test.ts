import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { startPool } from './pool.ts'
import { testCall } from './providers/provider-test-kit.ts'
import { resolveDeployment } from './resolved-deployment.ts'
import type { WorkerContext } from './run-job.ts'

/** A NATS whose consumers are there, gone, or cannot be made for a while. */
function fakeContext() {
  const nats = { exists: false, refusals: 0, made: 0, lose: () => {} }
  const sub = { drain: async () => {} }
  const consumers = {
    info: async () => assert.ok(nats.exists),
    update: async () => {},
    async add() {
      if (nats.refusals-- > 0) throw new Error('no leader')
      nats.exists = true
      nats.made++
    },
  }
  const consumer = { consume: async () => ({ sub, close: async () => {} }) }
  const onStoreLost = (listener: () => void) => {
    nats.lose = () => {
      nats.exists = false
      listener()
    }
    return () => {}
  }
  const bus = { jsm: { consumers }, js: { consumers: { get: async () => consumer } }, onStoreLost }
  const log = pino({ level: 'silent' })
  return { ctx: { bus, log } as unknown as WorkerContext, nats }
}

test('a consumer that was lost with the store is made anew, however often NATS refuses first', async () => {
  const { ctx, nats } = fakeContext()
  const pool = await startPool(ctx, resolveDeployment(testCall({}).deployment, {}))
  nats.refusals = 1
  nats.lose()
  await sleep(1_500)
  await pool.stop()
  assert.equal(nats.made, 2)
})

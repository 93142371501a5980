import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { RequestState } from '../contracts/channels.ts'
import { createFakeBus, type FakeBus } from './bus-test-kit.ts'
import { recoverJob } from './recovery.ts'

const startedAt = 1_000_000
const work = { id: 'one', gatewayId: 'a', deadline: startedAt + 60_000 }

let fake: FakeBus

beforeEach(() => {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: startedAt })
  fake = createFakeBus()
})
afterEach(() => mock.timers.reset())

/** What is known after so long, in milliseconds; null: it still asks. */
async function after(ms: number, asked: Promise<RequestState>): Promise<RequestState | null> {
  let state: RequestState | null = null
  void asked.then((found) => {
    state = found
  })
  for (let passed = 0; passed < ms; passed += 250) {
    // A question is some steps of the event loop, which the clock's next tick must not overtake.
    for (let step = 0; step < 5; step++) await turn()
    mock.timers.tick(250)
  }
  for (let step = 0; step < 5; step++) await turn()
  return state
}

test('a gateway that does not answer for three seconds is gone', async () => {
  const asked = recoverJob(fake.bus, work)
  assert.equal(await after(2_500, asked), null)
  assert.deepEqual(await after(1_000, asked), { state: 'gone', tokensSeen: 0 })
})

test('seconds without a connection say nothing of a gateway', async () => {
  const asked = recoverJob(fake.bus, work)
  fake.disconnect()
  assert.equal(await after(8_000, asked), null)
  fake.reconnect()
  assert.equal(await after(2_000, asked), null)
  fake.onRequest = () => Promise.resolve({ state: 'waiting', tokensSeen: 0 })
  assert.deepEqual(await after(500, asked), { state: 'waiting', tokensSeen: 0 })
})

test('once its time is over nobody waits for a request, connected or not', async () => {
  const asked = recoverJob(fake.bus, work)
  fake.disconnect()
  assert.deepEqual(await after(61_000, asked), { state: 'gone', tokensSeen: 0 })
})

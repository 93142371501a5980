import assert from 'node:assert/strict'
import { test } from 'node:test'
import { channels } from '../contracts/channels.ts'
import { createLogger } from '../telemetry/log.ts'
import { createFakeBus } from './bus-test-kit.ts'
import { watchServices } from './heartbeat.ts'

const startedAt = 1_000_000
const log = createLogger('test', { PENSTOCK_LOG_LEVEL: 'silent' })

/** A worker that watches gateway `a`; its own beats come back to it as everybody's do. */
function watching() {
  const fake = createFakeBus()
  let at = startedAt
  const services = watchServices(fake.bus, log, () => at)
  const beat = (service: 'gateway' | 'worker', id: string) =>
    fake.deliver(channels.alive.subject(), { service, id, problems: [] })
  return {
    isLost: () => services.isLost('gateway', 'a'),
    hears: () => services.hears,
    /** Seconds in which these are heard, once in each. */
    pass(seconds: number, heard: ('gateway' | 'worker')[]) {
      for (let passed = 0; passed < seconds; passed++) {
        at += 1_000
        for (const service of heard) beat(service, service === 'gateway' ? 'a' : 'w')
      }
    },
  }
}

test('a gateway that is silent while others are heard is lost after 3.5 seconds', () => {
  const { pass, isLost } = watching()
  pass(3, ['gateway', 'worker'])
  pass(3, ['worker'])
  assert.equal(isLost(), false)
  pass(1, ['worker'])
  assert.equal(isLost(), true)
})

test('a silence of everybody says nothing of a gateway: this process or NATS stood still', () => {
  const { pass, isLost, hears } = watching()
  pass(3, ['gateway', 'worker'])
  assert.equal(hears(), true)
  pass(3, [])
  assert.deepEqual([isLost(), hears()], [false, false])
  pass(20, [])
  assert.equal(isLost(), false)
  // Whose beat comes first when it goes on is chance.
  pass(1, ['worker'])
  assert.equal(isLost(), false)
  pass(3, ['worker'])
  assert.equal(isLost(), false)
  pass(1, ['worker'])
  assert.equal(isLost(), true)
})

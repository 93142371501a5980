import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { channels } from '../contracts/channels.ts'
import { createLogger } from '../telemetry/log.ts'
import { createFakeBus } from './bus-test-kit.ts'
import { watchFleet } from './fleet-view.ts'

const log = createLogger('test', { PENSTOCK_LOG_LEVEL: 'silent' })
const startedAt = 1_000_000

/** A gateway that watches worker `w`; its own beats come back to it as everybody's do. */
function watching() {
  mock.timers.enable({ apis: ['Date', 'setInterval'], now: startedAt })
  const fake = createFakeBus()
  const fleet = watchFleet(fake.bus, log)
  const beats = {
    worker: () =>
      fake.deliver(channels.fleet.subject(), {
        workerId: 'w',
        draining: false,
        deployments: [],
        aliases: { small: 'llama3' },
      }),
    gateway: () =>
      fake.deliver(channels.alive.subject(), { service: 'gateway', id: 'a', problems: [] }),
  }
  return {
    fake,
    isThere: () => 'small' in fleet.aliases,
    /** Seconds in which these are heard, once in each. */
    pass(seconds: number, heard: (keyof typeof beats)[]) {
      for (let passed = 0; passed < seconds; passed++) {
        mock.timers.tick(1_000)
        for (const one of heard) beats[one]()
      }
    },
    [Symbol.dispose]() {
      fleet.close()
      mock.timers.reset()
    },
  }
}

test('a worker that is silent while others are heard leaves the fleet', () => {
  using view = watching()
  view.pass(2, ['worker', 'gateway'])
  view.pass(3, ['gateway'])
  assert.equal(view.isThere(), true)
  view.pass(2, ['gateway'])
  assert.equal(view.isThere(), false)
})

test('what a gateway knows of the fleet outlasts a time in which it hears nobody', () => {
  using view = watching()
  view.pass(2, ['worker', 'gateway'])
  view.pass(20, [])
  assert.equal(view.isThere(), true)
  view.fake.disconnect()
  view.pass(20, [])
  assert.equal(view.isThere(), true)
  view.fake.reconnect()
  view.pass(3, ['gateway'])
  assert.equal(view.isThere(), true)
  view.pass(2, ['gateway'])
  assert.equal(view.isThere(), false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Bus } from '@penstock/shared/bus/connect'
import { storedEvents } from './event-log.ts'

test('events that are deleted while they are read are not waited for', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const closed = Promise.withResolvers<void>()
  const reads = Promise.withResolvers<void>()
  async function* nothing() {
    reads.resolve()
    await closed.promise
    yield* []
  }
  const consume = async () => Object.assign(nothing(), { close: async () => closed.resolve() })
  const get = async () => ({ consume, delete: async () => {} })
  const jsm = { direct: { getMessage: async () => ({ seq: 3 }) } }
  const bus = { jsm, js: { consumers: { get } } } as unknown as Bus
  const read = storedEvents(bus, 'r').then(
    () => 'read',
    (cause) => cause.code,
  )
  await reads.promise
  t.mock.timers.tick(60_000)
  const turns = (async () => {
    for (let turn = 0; turn < 50; turn++) await null
    return 'still waits'
  })()
  assert.equal(await Promise.race([read, turns]), 'service_unavailable')
})

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kvm } from '@nats-io/kv'
import type { Bus } from '@penstock/shared/bus/connect'
import { requestPartitions } from '@penstock/shared/contracts/channels'
import pino from 'pino'
import { startPartitions } from './partitions.ts'

/** A bucket of leases whose answers may be lost on the way. */
function fakeLeases() {
  const entries = new Map<string, { value: string; revision: number }>()
  let revision = 0
  const fake = { losesAnswers: false }
  const put = (key: string, value: string) => {
    entries.set(key, { value, revision: ++revision })
    return revision
  }
  const kv = {
    async create(key: string, value: string) {
      if (entries.has(key)) throw Object.assign(new Error('taken'), { code: 10_071 })
      return put(key, value)
    },
    async update(key: string, value: string, last: number) {
      if (entries.get(key)?.revision !== last)
        throw Object.assign(new Error('taken'), { code: 10_071 })
      const now = put(key, value)
      if (fake.losesAnswers) throw new Error('timeout')
      return now
    },
    async get(key: string) {
      const entry = entries.get(key)
      if (entry === undefined) return null
      return { ...entry, operation: 'PUT', string: () => entry.value }
    },
    delete: async (key: string) => void entries.delete(key),
  }
  return { fake, kv }
}

test('a renewal whose answer is lost loses nothing', async () => {
  const { fake, kv } = fakeLeases()
  const create = mock.method(Kvm.prototype, 'create', async () => kv)
  const messages = { close: async () => {} }
  const consumers = {
    async *list() {},
    add: async () => {},
    get: async () => ({ consume: async () => messages }),
  }
  const bus = {
    nc: { options: {}, features: {} },
    js: { consumers },
    jsm: { consumers },
    onReconnect() {},
  }
  const lost: number[] = []
  const partitions = await startPartitions({
    bus: bus as unknown as Bus,
    routerId: 'r1',
    services: { living: () => [] } as never,
    log: pino({ level: 'silent' }),
    onMessage() {},
    onLost: (partition) => lost.push(partition),
  })
  try {
    fake.losesAnswers = true
    await sleep(1_000)
    fake.losesAnswers = false
    await sleep(1_000)
    assert.deepEqual([lost, partitions.held.size], [[], requestPartitions])
  } finally {
    await partitions.close()
    create.mock.restore()
  }
})

// What is made of NATS's store is there again when NATS came back without it, also where the first try
// fails; and a body whose bytes are gone keeps nobody waiting.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Objm } from '@nats-io/obj'
import { consumeUsage } from '@penstock/billing-service/usage-consumer'
import { startNats } from '@penstock/infra/servers/nats'
import { openClaimCheck } from '@penstock/shared/bus/claim-check'
import { type Bus, connectBus } from '@penstock/shared/bus/connect'
import { readBlob } from '@penstock/shared/bus/read-blob'
import { channels, claimStore } from '@penstock/shared/contracts/channels'
import { eventually } from '../harness/eventually.ts'
import { quiet, scratchDirectory } from './billing-setup.ts'

let directory: Awaited<ReturnType<typeof scratchDirectory>>
let nats: Awaited<ReturnType<typeof startNats>>
let bus: Bus

beforeEach(async () => {
  directory = await scratchDirectory()
  nats = await startNats({ dataDir: directory.path, log: quiet })
  bus = await connectBus({ natsUrl: nats.url, name: 'test', log: quiet })
})
afterEach(async () => {
  mock.restoreAll()
  await bus.close()
  await nats.close()
  await directory.remove()
})

async function restartWithoutStore() {
  const { port } = nats
  await nats.close()
  await rm(join(directory.path, 'nats', 'jetstream'), { recursive: true })
  nats = await startNats({ dataDir: directory.path, port, log: quiet })
}

test('usage is taken again although its consumer could not be made at first', async () => {
  const stored: string[] = []
  const consumer = await consumeUsage(bus, quiet, async (messages) => {
    stored.push(...messages.map((data) => Buffer.from(data).toString()))
  })
  const { consumers } = bus.jsm
  const add = consumers.add.bind(consumers)
  let tries = 0
  consumers.add = async (...args) => {
    tries += 1
    if (tries === 1) throw new Error('timeout')
    return add(...args)
  }
  await restartWithoutStore()
  await eventually('tried', async () => tries > 0)
  await eventually('published', () =>
    bus.publisher.publish(channels.usage.subject(), Buffer.from('later'), {}).then(
      () => true,
      () => false,
    ),
  )
  await eventually('stored', async () => stored.includes('later'))
  await consumer.close()
})

test('a body is taken again although its bucket could not be made at first', async () => {
  const claims = await openClaimCheck(bus)
  let lost = false
  bus.onStoreLost(() => {
    lost = true
  })
  const body = Buffer.alloc(1_500_000, 'x')
  mock.method(Objm.prototype, 'create', () => Promise.reject(new Error('timeout')), { times: 2 })
  await restartWithoutStore()
  await eventually('lost', async () => lost)
  await assert.rejects(claims.put('a', body), { code: 'service_unavailable' })
  await claims.remove('a')
  await claims.put('b', body)
  assert.equal(Buffer.compare(await claims.get('b'), body), 0)
  await claims.remove('b')
  await assert.rejects(claims.get('b'), { code: 'service_unavailable' })
})

test('a body whose bytes are removed while it is fetched keeps nobody waiting', async () => {
  const claims = await openClaimCheck(bus)
  await claims.put('a', Buffer.alloc(1_500_000, 'x'))
  // As after the gateway's own removal, between the look at the entry and the first chunk.
  await bus.jsm.streams.purge(`OBJ_${claimStore.bucket}`, { filter: `$O.${claimStore.bucket}.C.>` })
  const store = await new Objm(bus.js).open(claimStore.bucket)
  await assert.rejects(readBlob(store, 'a', { limitMs: 200 }))
  await assert.rejects(readBlob(store, 'a', { signal: AbortSignal.timeout(50) }))
})

test('whoever is still at it is not asked to make its part anew a second time beside', async () => {
  let atOnce = 0
  let most = 0
  let refused = 0
  bus.onStoreLost(async () => {
    most = Math.max(most, ++atOnce)
    await sleep(3_000)
    atOnce -= 1
  })
  bus.onStoreLost(async () => {
    if (++refused < 3) throw new Error('not yet')
  })
  await restartWithoutStore()
  await eventually('the other one is', async () => refused === 3)
  assert.equal(atOnce, 1, 'and has not waited for it')
  await eventually('all is made anew', async () => atOnce === 0)
  assert.equal(most, 1)
})

// A client that leaves early: what its stream took is given back, however early that was.
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '@penstock/shared/bus/connect'
import pino from 'pino'
import type { Gateway } from '../gateway.ts'
import { sendEvents } from './send-events.ts'

/** A NATS that has one event and sends no further one. */
function fakeBus(events: string[]) {
  const consumers = { open: 0 }
  const consume = async () => {
    const closed = Promise.withResolvers<void>()
    async function* read() {
      for (const text of events) yield { data: Buffer.from(text), seq: 1 }
      await closed.promise
    }
    return Object.assign(read(), { close: async () => closed.resolve() })
  }
  const get = async () => {
    consumers.open++
    let isOpen = true
    const remove = async () => {
      if (isOpen) consumers.open--
      isOpen = false
    }
    return { consume, delete: remove }
  }
  const jsm = { direct: { getMessage: async () => ({ seq: 1 }) } }
  return { bus: { jsm, js: { consumers: { get } } } as unknown as Bus, consumers }
}

function fakeResponse(leavesAfterMs: number | null) {
  const res = Object.assign(new EventEmitter(), {
    ...{ closed: leavesAfterMs === null, destroyed: leavesAfterMs === null, headersSent: false },
    ...{ setHeader() {}, flushHeaders() {}, write: () => false, end() {} },
  })
  const leave = () => {
    Object.assign(res, { closed: true, destroyed: true })
    res.emit('close')
  }
  if (leavesAfterMs === 0) queueMicrotask(leave)
  return res as unknown as ServerResponse
}

const event = 'event: response.created\ndata: {"type":"x","sequence_number":0}\n\n'
const cases: [string, string[], number | null][] = [
  ['before anything was asked', [event], null],
  ['while its events are looked for', [], 0],
]
for (const [when, events, leavesAfterMs] of cases) {
  test(`a client that leaves ${when} is not waited for`, async () => {
    const { bus, consumers } = fakeBus(events)
    const background = { store: { get: async () => ({}) } }
    const gateway = { bus, background, log: pino({ level: 'silent' }) } as unknown as Gateway
    const following = { id: 'r', owner: 'o', startingAfter: -1 }
    const sent = sendEvents(gateway, following, fakeResponse(leavesAfterMs)).then(
      () => 'over',
      () => 'over',
    )
    assert.equal(await Promise.race([sent, sleep(500, 'still waits')]), 'over')
    assert.equal(consumers.open, 0)
  })
}

test('a client that stops reading is let go, and its consumer with it', async () => {
  const piece = 'x'.repeat(64 * 1024)
  const events = Array.from(
    { length: 400 },
    (_, n) => `event: response.x\ndata: {"type":"x","sequence_number":${n},"text":"${piece}"}\n\n`,
  )
  const { bus, consumers } = fakeBus(events)
  const background = { store: { get: async () => ({}) } }
  const gateway = { bus, background, log: pino({ level: 'silent' }) } as unknown as Gateway
  const over = Promise.withResolvers<string>()
  const server = createServer((_req, res) => {
    const following = { id: 'r', owner: 'o', startingAfter: -1 }
    sendEvents(gateway, following, res, 200).then(() => over.resolve('over'), over.reject)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => {})
  client.pause()
  client.write('GET / HTTP/1.1\r\nhost: here\r\n\r\n')
  try {
    assert.equal(await Promise.race([over.promise, sleep(3_000, 'still waits')]), 'over')
    assert.equal(consumers.open, 0)
  } finally {
    client.destroy()
    server.closeAllConnections()
    server.close()
  }
})

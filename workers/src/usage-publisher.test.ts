import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage, type UsageEvent, usageBatch } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import { usage } from './fixtures/work.ts'
import { createUsagePublisher } from './usage-publisher.ts'

/** What NATS takes by default, in bytes. */
const maxPayload = 1024 * 1024
const refused = new PenstockError('queue_full', 'Full.')

/** A publisher on a queue that takes what NATS would take, unless it is told to refuse. */
function onQueue() {
  const messages: UsageEvent[][] = []
  const state = { refuses: false, refusals: 0 }
  const bus = {
    publisher: {
      async publish(_subject: string, data: Uint8Array) {
        if (state.refuses || data.length > maxPayload) {
          state.refusals += 1
          throw refused
        }
        messages.push(usageBatch.parse(JSON.parse(Buffer.from(data).toString())))
      },
    },
    outbox: { flush() {} },
  }
  const publisher = createUsagePublisher(bus, pino({ level: 'silent' }))
  return { publisher, messages, state, stored: () => messages.flat() }
}

/** Lets everything that is due now happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('many large events become several messages, none larger than half of what NATS takes', async () => {
  const { publisher, messages, state, stored } = onQueue()
  const tags = ['t'.repeat(30_000)]
  const ids = Array.from({ length: 100 }, (_, index) => `r${index}`)
  await Promise.all(ids.map((id) => publisher.publish(usage(id, { tags }))))
  assert.deepEqual(
    stored().map(({ requestId }) => requestId),
    ids,
  )
  for (const one of messages) assert.ok(JSON.stringify(one).length <= maxPayload / 2)
  assert.equal(state.refusals, 0)
})

test('an event too large for any message is stored without what the client filled it with', async () => {
  const { publisher, stored } = onQueue()
  const caller = { keyId: 'k', userId: null, teamId: 't', endUser: 'e'.repeat(900_000) }
  const tags = ['ä'.repeat(950_000)]
  await publisher.publish(usage('large', { tags, caller, sessionId: 's' }))
  const [event] = stored()
  assert.deepEqual([event?.requestId, event?.tags, event?.sessionId], ['large', [], null])
  assert.deepEqual(event?.caller, { ...caller, endUser: 'e'.repeat(256) })
})

test('one that is too large even so is refused at once, and only that one', async () => {
  const { publisher, stored } = onQueue()
  const sent: string[] = []
  const large = publisher.publish(usage('large', { model: 'm'.repeat(2_000_000) }), () =>
    sent.push('large'),
  )
  const small = publisher.publish(usage('small'), () => sent.push('small'))
  await assert.rejects(large, { code: 'internal_error' })
  await small
  assert.deepEqual(
    stored().map(({ requestId }) => requestId),
    ['small'],
  )
  assert.deepEqual(sent, ['small'])
})

test('what an error says is bounded', async () => {
  const { publisher, stored } = onQueue()
  const long = new PenstockError('upstream_error', 'm'.repeat(3_000), { param: 'p'.repeat(300) })
  await publisher.publish(usage('r', { status: 'failure', error: long.info }))
  const error = { ...long.info, message: 'm'.repeat(2_000), param: 'p'.repeat(256) }
  assert.deepEqual(stored()[0]?.error, error)
})

test('an event that is none harms no other', async () => {
  const { publisher, stored } = onQueue()
  const bad = publisher.publish(usage('bad', { usage: { ...noUsage, promptTokens: 1e300 } }))
  const good = ['a', 'b'].map((id) => publisher.publish(usage(id)))
  await assert.rejects(bad, { name: 'ZodError' })
  await Promise.all(good)
  assert.deepEqual(
    stored().map(({ requestId }) => requestId),
    ['a', 'b'],
  )
})

test('what cannot be said after one event does not keep the others from being said', async () => {
  const { publisher } = onQueue()
  const fault = new Error('no frame')
  const first = publisher.publish(usage('a'), () => {
    throw fault
  })
  let said = false
  const second = publisher.publish(usage('b'), () => {
    said = true
  })
  await assert.rejects(first, fault)
  await second
  assert.ok(said)
})

test('while usage cannot be stored it is a problem, and none after', async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { publisher, state, stored } = onQueue()
  assert.deepEqual(publisher.problems(), [])
  state.refuses = true
  const published = publisher.publish(usage('r'))
  await turn()
  for (const tries of [1, 2, 3]) {
    assert.equal(state.refusals, tries)
    assert.deepEqual(publisher.problems(), ['usage: cannot be stored (queue_full)'])
    t.mock.timers.tick(500)
    await turn()
  }
  state.refuses = false
  t.mock.timers.tick(500)
  await published
  assert.deepEqual(publisher.problems(), [])
  assert.equal(stored().length, 1)
})

// Who goes next where many wait for one slot: sharers take turns, a higher priority goes first, and
// the lowest still moves.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { completionOf } from '../harness/answers.ts'
import { untilWaiting } from '../harness/queue-report.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const slotMs = 10
/** Shares are of slot time: long enough that what the machine adds to a call is a small part of it. */
const measuredMs = 50
const crowd = 500

let servers: Servers
let fake: FakeOpenAi
let stack: Stack

before(async () => {
  servers = await startServers()
  fake = await startFakeOpenAi()
  const one = { model: 'openai/gpt-4o-mini', api_base: fake.url, max_parallel_requests: 1 }
  stack = await startStack({
    servers,
    config: { model_list: [{ model_name: 'narrow', litellm_params: one }] },
  })
})
after(async () => {
  await stack.close()
  await Promise.all([fake.close(), servers.close()])
})
afterEach(() => stack.queues.empty())

/** One slot and one call at a time: the order in which calls begin is that in which they end. */
const order = (): string[] => fake.calls.map(({ body }) => String(body.user))

async function ask(user: string, fields: object = {}): Promise<void> {
  const messages = [{ role: 'user', content: 'hello' }]
  const body = { model: 'narrow', messages, user, ...fields }
  completionOf(await stack.client.post('/v1/chat/completions', body))
}

/** Takes the one slot until it is called; the calls after that last so long each. */
async function holdSlot(callMs = slotMs): Promise<() => Promise<void>> {
  fake.calls.length = 0
  const gate = Promise.withResolvers<void>()
  const { started } = fake.counts
  fake.setBehaviour({ gate: gate.promise })
  const first = ask('holder')
  await fake.until((counts) => counts.started === started + 1)
  fake.setBehaviour({ firstTokenDelayMs: callMs })
  return async () => {
    gate.resolve()
    await first
  }
}

const many = (count: number, user: string, fields?: object) =>
  Array.from({ length: count }, () => ask(user, fields))

test('twenty requests beside five hundred of another sharer get every second turn', async () => {
  const free = await holdSlot(measuredMs)
  const crowded = many(crowd, 'a')
  await untilWaiting(stack.client, 'narrow', crowd)
  const few = many(20, 'b')
  await untilWaiting(stack.client, 'narrow', crowd + 20)
  await free()
  await Promise.all(few)
  fake.setBehaviour({ firstTokenDelayMs: slotMs })
  await Promise.all(crowded)

  const served = order().slice(1)
  const contended = served.slice(0, served.lastIndexOf('b') + 1)
  assert.ok(contended.length >= 38 && contended.length <= 42, `b is done after ${contended.length}`)
  // Every window of forty in which both still waited, and the shorter ones by the same measure.
  const window = Math.min(40, contended.length)
  for (let from = 0; from + window <= contended.length; from++) {
    const ofB = contended.slice(from, from + window).filter((user) => user === 'b').length
    assert.ok(Math.abs(ofB - 20) <= 2, `${ofB} of ${window} from ${from} on are b's`)
  }
})

test('a request of priority that comes behind five hundred others is served next', async () => {
  const free = await holdSlot()
  const asked = many(crowd, 'a')
  await untilWaiting(stack.client, 'narrow', crowd)
  asked.push(ask('urgent', { service_tier: 'priority' }))
  await untilWaiting(stack.client, 'narrow', crowd + 1)
  await free()
  await Promise.all(asked)
  assert.equal(order()[1], 'urgent')
})

test('LiteLLM’s priority number orders requests inside a class', async () => {
  const free = await holdSlot()
  const asked = [ask('later', { priority: 5 }), ask('normal'), ask('sooner', { priority: -5 })]
  await untilWaiting(stack.client, 'narrow', 3)
  await free()
  await Promise.all(asked)
  assert.deepEqual(order().slice(1), ['sooner', 'normal', 'later'])
})

test('flex still moves while default is saturated', async () => {
  const free = await holdSlot()
  const asked = many(10, 'patient', { service_tier: 'flex' })
  await untilWaiting(stack.client, 'narrow', 10)
  asked.push(...many(crowd, 'a'))
  const { depth_by_priority: depths } = await untilWaiting(stack.client, 'narrow', crowd + 10)
  assert.deepEqual(depths, { priority: 0, default: crowd, flex: 10, batch: 0 })
  await free()
  await Promise.all(asked)
  const turns = order().flatMap((user, index) => (user === 'patient' ? [index] : []))
  assert.ok(
    turns.every((turn) => turn < crowd),
    'all of flex was served before the crowd was',
  )
  assert.ok((turns[0] ?? 0) > 10, 'and default went first')
})

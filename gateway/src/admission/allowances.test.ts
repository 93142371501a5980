import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { TimeoutError } from '@nats-io/transport-node'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import {
  type AccountRef,
  type AllowanceQuestion,
  type AllowanceReply,
  allowanceQuestion,
  type ReserveQuestion,
} from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import pino from 'pino'
import { type Allowances, createAllowances } from './allowances.ts'

const key: AccountRef = { kind: 'key', owner: 'k', model: '' }
const wish = { ...key, amount: '10', tokens: 2, requests: 64 }
const back = { ...wish, requests: 0 }

let fake: FakeBus
let allowances: Allowances
let told: AllowanceQuestion[]
/** Billing: lends what is wished for, unless a test has it otherwise. */
let billing: (question: AllowanceQuestion) => Promise<AllowanceReply | object>
let errors: number
let count = 0

beforeEach(() => {
  fake = createFakeBus()
  told = []
  errors = 0
  const held = { amount: 0n, tokens: 0 }
  billing = async ({ draws, wishes }) => {
    for (const { amount, tokens } of draws) {
      held.amount -= BigInt(amount)
      held.tokens -= tokens
    }
    for (const { amount, tokens, requests } of wishes) {
      held.amount = BigInt(amount) * BigInt(requests)
      held.tokens = tokens * requests
    }
    const money = { spent: '0', reserved: '0', limit: null }
    const tokens = { tokensSpent: 0, tokensReserved: 0, tokensLimit: null, resetsAt: null }
    const allowance = { amount: String(held.amount), tokens: held.tokens }
    return { ended: false, accounts: [{ ...key, ...money, ...tokens, allowance }] }
  }
  fake.onRequest = (subject, question) => {
    assert.equal(subject, channels.allowance.subject())
    const parsed = allowanceQuestion.parse(question)
    told.push(parsed)
    return billing(parsed)
  }
  const log = pino({ level: 'error' }, { write: () => void errors++ })
  allowances = createAllowances(fake.bus, log)
})
afterEach(() => allowances.close())

function question(): ReserveQuestion {
  return { requestId: `r${count++}`, accounts: [key], amount: '10', tokens: 2, expiresAt: 1 }
}

/** Resolves when billing has been told so often, and its answer was heard. */
async function untilTold(times: number): Promise<void> {
  for (let ms = 0; told.length < times && ms < 2_000; ms++) await sleep(1)
  assert.ok(told.length >= times, `told ${told.length} times`)
  await sleep(1)
}

async function lend(): Promise<void> {
  for (let i = 0; i < 2; i++) assert.equal(allowances.take(question()), null)
  await untilTold(1)
  assert.deepEqual(told[0]?.wishes, [wish])
}

test('what is lent is granted at once, and many grants are told of in one message', async () => {
  await lend()
  const asked = [question(), question(), question()]
  for (const one of asked) assert.ok(allowances.take(one))
  assert.equal(told.length, 1)
  await Promise.all(asked.map(({ requestId }) => allowances.told(requestId)))
  assert.equal(told.length, 2)
  const { holder, number } = told[0] ?? assert.fail()
  const draws = asked.map((one) => ({ ...one, since: number + 1 }))
  const answered = number
  assert.deepEqual(told[1], { holder, number: number + 1, answered, draws, wishes: [] })
})

test('what billing never answered is told again under a higher number, with what came meanwhile', async () => {
  await lend()
  const lends = billing
  billing = () => Promise.reject(new TimeoutError())
  const [first, second] = [question(), question()]
  assert.ok(allowances.take(first))
  await untilTold(2)
  assert.ok(allowances.take(second))
  billing = lends
  await allowances.told(first.requestId)
  const [lost, again] = [told[1] ?? assert.fail(), told.at(-1)]
  const since = lost.number
  assert.deepEqual(lost.draws, [{ ...first, since }])
  assert.partialDeepStrictEqual(again?.draws, [{ ...first, since }, second])
  assert.ok(Number(again?.draws[1]?.since) > since)
  assert.equal(lost.holder, again?.holder)
  assert.deepEqual([lost.answered, again?.answered], [told[0]?.number, told[0]?.number])
  assert.ok(Number(lost.number) < Number(again?.number))
  assert.equal(errors, 0)
})

test('billing that always takes longer than usual is waited for all the same', async () => {
  await lend()
  const lends = billing
  // Without an answer once the gateway has given up.
  fake.onRequest = async (_, asked, timeoutMs = 0) => {
    const parsed = allowanceQuestion.parse(asked)
    told.push(parsed)
    if (timeoutMs < 400) {
      await sleep(timeoutMs)
      throw new TimeoutError()
    }
    await sleep(400)
    return lends(parsed)
  }
  const asked = question()
  assert.ok(allowances.take(asked))
  const patience = sleep(5_000, 'never', { ref: false })
  assert.equal(await Promise.race([allowances.told(asked.requestId), patience]), undefined)
  assert.equal(errors, 0)
})

test('what billing cannot take is said, and not told for ever', async () => {
  await lend()
  billing = async () => ({ failed: { code: 'invalid_request', message: 'This cannot be drawn.' } })
  const asked = question()
  assert.ok(allowances.take(asked))
  await allowances.told(asked.requestId)
  assert.equal(errors, 1)
  await sleep(300)
  assert.equal(told.length, 2)
})

test('a gateway that was taken for dead goes on under another name, and tells what it granted', async () => {
  await lend()
  const [lends, asked] = [billing, question()]
  billing = async () => {
    billing = lends
    return { ended: true, accounts: [] }
  }
  assert.ok(allowances.take(asked))
  await allowances.told(asked.requestId)
  const [, refused, again] = told
  assert.deepEqual(refused?.draws, [{ ...asked, since: refused?.number }])
  assert.deepEqual(again?.draws, [{ ...asked, since: again?.number }])
  assert.equal(again?.answered, 0)
  assert.equal(told[1]?.holder, told[0]?.holder)
  assert.notEqual(told[2]?.holder, told[1]?.holder)
  assert.equal(errors, 0)
})

test('what is called back goes at once', async () => {
  await lend()
  const asked = question()
  assert.ok(allowances.take(asked))
  fake.deliver(channels.recall.subject(), key)
  assert.partialDeepStrictEqual(told[1], { draws: [asked], wishes: [back] })
  assert.equal(allowances.take(question()), null)
})

test('after any change of keys or budgets nothing is granted before billing says how the account stands', async () => {
  fake.deliver(channels.access.subject(), { version: 3 })
  await lend()
  fake.deliver(channels.access.subject(), { version: 3 })
  const [granted, onItsWay] = [question(), Promise.withResolvers<void>()]
  assert.ok(allowances.take(granted))
  const lends = billing
  billing = (message) => onItsWay.promise.then(() => lends(message))
  await untilTold(2)
  fake.deliver(channels.access.subject(), { version: 4 })
  assert.equal(allowances.take(question()), null)
  // What billing says now it may have said before the change.
  onItsWay.resolve()
  await allowances.told(granted.requestId)
  assert.equal(allowances.take(question()), null)
  await untilTold(3)
  assert.deepEqual([told[2]?.draws, told[2]?.wishes], [[], [wish]])
  assert.ok(allowances.take(question()))
})

test('a gateway that closes gives everything back, if billing is there to take it', async () => {
  await lend()
  await allowances.close()
  assert.deepEqual(told.at(-1)?.wishes, [back])
  const begun = told.length
  await allowances.close()
  assert.equal(told.length, begun)
})

test('without a connection nothing is told, and close does not wait for ever', async () => {
  await lend()
  fake.disconnect()
  assert.ok(allowances.take(question()))
  await sleep(50)
  assert.equal(told.length, 1)
  await allowances.close()
  assert.equal(told.length, 1)
})

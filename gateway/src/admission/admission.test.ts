import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { TimeoutError } from '@nats-io/transport-node'
import { createFakeBus, type FakeBus } from '@penstock/shared/bus/bus-test-kit'
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { parseConfig } from '@penstock/shared/config/load'
import type { BudgetedAccount, KeyFacts, LimitedScope } from '@penstock/shared/contracts/access'
import {
  allowanceQuestion,
  type ReserveQuestion,
  type Standing,
} from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { noUsage } from '@penstock/shared/contracts/usage'
import pino from 'pino'
import { keyFactsOf } from '../fixtures/key-facts.ts'
import { type Admission, type AdmissionQuestion, createAdmission } from './admission.ts'
import { createMemoryLimiter } from './limits/memory.ts'

const { config } = parseConfig(
  JSON.stringify({ litellm_settings: { fallbacks: [{ cheap: ['dear'] }, { mixed: ['free'] }] } }),
  {},
)
const pico = 10n ** 12n

function info(group: string, outputCostPerToken: number | null): DeploymentInfo {
  return {
    id: group,
    group,
    provider: 'hosted_vllm',
    model: group,
    slots: 1,
    weight: null,
    order: null,
    rpm: null,
    tpm: null,
    tags: [],
    locality: 'local',
    maxInputTokens: null,
    maxOutputTokens: null,
    inputCostPerToken: null,
    outputCostPerToken,
    cooldownMs: null,
    apiBase: null,
    priceRef: null,
    prices: outputCostPerToken === null ? null : { outputCostPerToken },
  }
}
const infos = [info('cheap', 0.01), info('dear', 1), info('mixed', 0.01), info('free', null)]
const fleet = {
  inGroup: (group: string) => infos.filter((one) => one.group === group),
  deployments: new Map(infos.map((one) => [one.id, one])),
}

let fake: FakeBus
let admission: Admission
let asked: ReserveQuestion[]
/** Left in the one account that there is, in dollars. */
let budget: bigint
let count = 0

const standing: Standing = {
  kind: 'key',
  owner: 'key_1',
  model: '',
  spent: '0',
  reserved: '0',
  limit: null,
  tokensSpent: 0,
  tokensReserved: 0,
  tokensLimit: null,
  resetsAt: null,
}

beforeEach(() => {
  fake = createFakeBus()
  asked = []
  budget = 100n
  fake.onRequest = async (subject, question) => {
    // Nobody lends here; allowances.test.ts is about those who do.
    if (subject === channels.allowance.subject()) return { ended: false, accounts: [] }
    const one = question as ReserveQuestion
    asked.push(one)
    const limit = String(budget * pico)
    const account = { ...standing, spent: String(pico), reserved: String(2n * pico), limit }
    if (BigInt(one.amount) > (budget - 3n) * pico) {
      return { granted: false, exceeded: 'money', by: account, lent: false }
    }
    return { granted: true, accounts: [account] }
  }
  const limiter = createMemoryLimiter()
  const log = pino({ level: 'silent' })
  admission = createAdmission({ bus: fake.bus, fleet, limiter, config: () => config, log })
})
afterEach(() => admission.close())

const money: BudgetedAccount = {
  kind: 'key',
  owner: 'key_1',
  model: '',
  hasMoney: true,
  hasTokens: false,
}
const perMinute = (rpm: number): LimitedScope => ({
  kind: 'team',
  owner: 't1',
  all: { rpm, tpm: null, maxParallel: null },
  models: {},
})

async function admit(facts: Partial<KeyFacts> | null, changes: Partial<AdmissionQuestion> = {}) {
  const group = changes.group ?? 'cheap'
  return admission.admit({
    requestId: `r${count++}`,
    facts: facts === null ? null : keyFactsOf(facts),
    operation: 'chat',
    model: group,
    group,
    allowedGroups: null,
    request: { model: group, messages: [{ content: 'hello' }], max_tokens: 10 },
    bodyBytes: 80,
    promptTokens: 2,
    receivedAt: Date.now(),
    timeoutMs: 60_000,
    ...changes,
  })
}

/** Within a second, or the test fails. */
async function eventually(isTrue: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await isTrue()) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  assert.fail('never')
}

const head: FrameHead = {
  deploymentId: 'cheap',
  group: 'cheap',
  retries: 0,
  fallbacks: 0,
  upstreamMs: 1,
}
const end: FrameEnd = {
  head: null,
  usage: { ...noUsage, promptTokens: 3, completionTokens: 5 },
  startedAt: 1,
  endedAt: 2,
}
/** What billing was told of reservations. */
const released = () =>
  fake.stored.map(({ data }) => JSON.parse(Buffer.from(data).toString('utf8')).released)

test('an admin is let through without being counted, and told what the answer cost', async () => {
  const one = await admit(null)
  assert.equal(one, await admit(null))
  assert.deepEqual(one.headers(head, end), [['response-cost', '0.05']])
  assert.deepEqual(one.headers(head, null), [])
  assert.deepEqual(one.headers({ ...head, deploymentId: 'free' }, end), [])
})

describe('limits', () => {
  test('are told with each request, and whose limit refuses', async () => {
    const headers: Record<string, string> = {}
    const onHeader = (name: string, value: string) => {
      headers[name] = value
    }
    await admit({ limits: [perMinute(1)] }, { onHeader })
    assert.equal(headers['x-ratelimit-limit-requests'], '1')
    assert.equal(headers['x-ratelimit-remaining-requests'], '0')
    assert.match(headers['x-ratelimit-reset-requests'] ?? '', /^\d+(\.\d+)?s$/)
    await assert.rejects(
      admit({ limits: [perMinute(1)] }, { onHeader }),
      (error) =>
        error instanceof PenstockError &&
        error.code === 'rate_limited' &&
        /team `t1`: 1 requests per minute/.test(error.message) &&
        (error.info.retryAfterMs ?? 0) > 55_000,
    )
  })

  test('of a model hold for its requests alone, patterns included', async () => {
    const none = { rpm: null, tpm: null, maxParallel: null }
    const models = { 'openai/*': { ...none, rpm: 1 }, dear: { ...none, rpm: 0.5 } }
    const limits = [{ kind: 'key' as const, owner: 'k', all: none, models }]
    const wildcard = { group: '*', model: 'openai/gpt-4o' }
    await admit({ limits })
    await admit({ limits }, wildcard)
    await assert.rejects(admit({ limits }, wildcard), /model `openai\/\*`/)
    await assert.rejects(admit({ limits }, { group: 'dear' }), { code: 'rate_limited' })
    await admit({ limits })
  })

  test('are not used up by what the budget refuses, nor by what was never sent', async () => {
    const facts = { limits: [perMinute(1)], accounts: [money] }
    budget = 3n
    await assert.rejects(admit(facts), { code: 'budget_exceeded' })
    budget = 100n
    const unsent = await admit(facts)
    unsent.settled({ kind: 'unsent' })
    await admit(facts)
    await assert.rejects(admit(facts), { code: 'rate_limited' })
  })
})

describe('a budget', () => {
  test('is asked for the dearest way, fallbacks included, and says how the key stands', async () => {
    const one = await admit({ accounts: [money] })
    assert.deepEqual(
      asked.map(({ amount }) => amount),
      [String(10n * pico)],
    )
    assert.equal(one.allowedGroups, null)
    assert.deepEqual(one.headers(head, null), [
      ['key-spend', '1'],
      ['key-remaining', '99'],
    ])
    assert.deepEqual(one.headers(head, end), [
      ['response-cost', '0.05'],
      ['key-spend', '1.05'],
      ['key-remaining', '98.95'],
    ])
  })

  test('that does not pay for the fallback may pay for the group itself', async () => {
    budget = 4n
    const one = await admit({ accounts: [money] })
    assert.deepEqual(
      asked.map(({ amount }) => amount),
      [String(10n * pico), String(pico / 10n)],
    )
    assert.deepEqual(one.allowedGroups, [])
  })

  test('refuses with what is spent and what is reserved, and when to come again', async () => {
    budget = 3n
    await assert.rejects(admit({ accounts: [money] }, { allowedGroups: [] }), (error) => {
      assert.ok(error instanceof PenstockError)
      const { code, message, retryAfterMs } = error.info
      assert.equal(code, 'budget_exceeded')
      assert.match(message, /key `key_1`: \$1 spent and \$2 reserved of \$3; .* \$0\.1\./)
      // What is reserved may be settled below.
      assert.equal(retryAfterMs, 1_000)
      return true
    })
    assert.equal(asked.length, 1)
  })

  test('pays for nothing without a price, be it asked for or a fallback', async () => {
    await assert.rejects(admit({ accounts: [money] }, { group: 'free' }), { code: 'price_unknown' })
    const one = await admit({ accounts: [money] }, { group: 'mixed' })
    assert.deepEqual(one.allowedGroups, [])
    const tokens = { ...money, hasMoney: false, hasTokens: true }
    await admit({ accounts: [tokens] }, { group: 'free' })
    assert.deepEqual([asked.at(-1)?.amount, asked.at(-1)?.tokens], ['0', 80 + 128 + 10])
  })

  test('for one model is asked for its requests alone, and for those that may fall back', async () => {
    const one = [{ ...money, model: 'mixed' }]
    await admit({ accounts: one })
    assert.equal(asked.length, 0)
    await admit({ accounts: one }, { group: 'mixed' })
    assert.deepEqual(asked[0]?.accounts, [{ kind: 'key', owner: 'key_1', model: 'mixed' }])

    const other = [{ ...money, model: 'dear' }]
    assert.equal((await admit({ accounts: other })).allowedGroups, null)
    budget = 3n
    assert.deepEqual((await admit({ accounts: other })).allowedGroups, [])
    assert.deepEqual(
      asked.slice(1).map(({ accounts }) => accounts.map(({ model }) => model)),
      [['dear'], ['dear']],
    )
  })

  test('is given back by how the request ended', async () => {
    const { info: verdict } = new PenstockError('upstream_bad_request', 'no')
    const { info: late } = new PenstockError('deadline_exceeded', 'late')
    for (const [outcome, within] of [
      [{ kind: 'answered', end }, null],
      [{ kind: 'failed', error: verdict }, 0],
      [{ kind: 'failed', error: late }, 15_000],
      [{ kind: 'left' }, 15_000],
      [{ kind: 'unsent' }, 0],
    ] as const) {
      fake.stored = []
      const requestId = `r${count}`
      const one = await admit({ accounts: [money] })
      one.settled(outcome)
      await new Promise((resolve) => setImmediate(resolve))
      assert.deepEqual(released(), within === null ? [] : [{ requestId, within }])
    }
  })

  test('is given back where nobody answered whether it was granted', async () => {
    fake.onRequest = async () => 'what nobody understands'
    const requestId = `r${count}`
    await assert.rejects(admit({ accounts: [money] }), { code: 'service_unavailable' })
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(released(), [{ requestId, within: 0 }])
  })

  for (const [what, first, expected] of [
    ['is given back where a question was never answered', new TimeoutError(), 1],
    ['is not given back where nobody was there to grant it', new Error('no responders'), 0],
  ] as const) {
    test(what, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() })
      let questions = 0
      fake.onRequest = () => {
        questions += 1
        return Promise.reject(questions === 1 ? first : new Error('no responders'))
      }
      let isOver = false
      const refused = assert
        .rejects(admit({ accounts: [money] }), { code: 'service_unavailable' })
        .finally(() => {
          isOver = true
        })
      for (let turn = 0; turn < 1_000 && !isOver; turn++) {
        t.mock.timers.tick(200)
        await new Promise((resolve) => setImmediate(resolve))
      }
      await refused
      await new Promise((resolve) => setImmediate(resolve))
      assert.ok(questions > 1)
      assert.equal(released().length, expected)
    })
  }

  test('is released once the connection is back, and not piled up before', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    await admission.close()
    const log = pino({ level: 'silent' })
    const limiter = createMemoryLimiter()
    admission = createAdmission({ bus: fake.bus, fleet, limiter, config: () => config, log })
    const one = await admit({ accounts: [money] })
    fake.disconnect()
    one.settled({ kind: 'unsent' })
    t.mock.timers.tick(10_000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(released(), [])
    fake.reconnect()
    t.mock.timers.tick(1_000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(released().length, 1)
  })

  test('that lends is not asked each time, and releases what it was told of before', async () => {
    const question = fake.onRequest
    const tell = Promise.withResolvers<void>()
    fake.onRequest = async (subject, message) => {
      if (subject !== channels.allowance.subject()) return question(subject, message)
      const { draws, wishes } = allowanceQuestion.parse(message)
      if (draws.length > 0) await tell.promise
      const isGivenBack = wishes[0]?.requests === 0
      const allowance = { amount: isGivenBack ? '0' : String(pico * 150n), tokens: 1_000 }
      return { ended: false, accounts: [{ ...standing, spent: '7', allowance }] }
    }
    for (let i = 0; i < 2; i++) (await admit({ accounts: [money] })).settled({ kind: 'unsent' })
    await eventually(async () => {
      const begun = asked.length
      const one = await admit({ accounts: [money] })
      one.settled({ kind: 'unsent' })
      return asked.length === begun
    })
    const requestId = `r${count - 1}`
    const isReleased = () => released().some((one) => one.requestId === requestId)
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(isReleased(), false)
    tell.resolve()
    await eventually(async () => isReleased())
  })

  test('is not given back where it was refused', async () => {
    budget = 3n
    await assert.rejects(admit({ accounts: [money] }), { code: 'budget_exceeded' })
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(released(), [])
  })

  test('that is released while the queue is away is released when it is back', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const own = createAdmission({
      bus: fake.bus,
      fleet,
      limiter: createMemoryLimiter(),
      config: () => config,
      log: pino({ level: 'silent' }),
    })
    await admission.close()
    admission = own
    fake.onStore = () => Promise.reject(new PenstockError('service_unavailable', 'away'))
    const one = await admit({ accounts: [money] })
    one.settled({ kind: 'unsent' })
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(released(), [])
    fake.onStore = () => Promise.resolve()
    t.mock.timers.tick(1_000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(released().length, 1)
    t.mock.timers.tick(5_000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(released().length, 1)
  })
})

test('a key without a budget is told what it has spent, with what was seen here since', async () => {
  const facts = keyFactsOf({ spent: String(pico), remaining: String(pico / 2n) })
  const one = await admit(null, { facts })
  one.headers(head, null)
  one.settled({ kind: 'answered', end })
  assert.deepEqual((await admit(null, { facts })).headers(head, null), [
    ['key-spend', '1.05'],
    ['key-remaining', '0.45'],
  ])
})

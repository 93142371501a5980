// Budgets are a promise: whatever runs at the same time, through any number of gateways, a key never
// spends more than it has, and is never refused for money that nobody spent.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { failure } from '../fakes/openai-behaviour.ts'
import { errorOf, requestIdOf } from '../harness/answers.ts'
import type { Answer } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys, type Keys, type TestKey } from '../harness/keys.ts'
import { startProcesses } from '../harness/processes.ts'
import { recordLog } from '../harness/record-log.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

let servers: Servers
let openai: FakeOpenAi
let ollama: FakeOllama

before(async () => {
  servers = await startServers()
  openai = await startFakeOpenAi({ behaviour: { tokens: 5 } })
  ollama = await startFakeOllama({ models: ['llama3.2'] })
})
after(async () => {
  await Promise.all([openai.close(), ollama.close(), servers.close()])
})

/** US dollars per token of an answer; the fake's have five. */
const price = 0.00001
const answerPrice = 5 * price
/** In pico-dollars. */
const answerCost = 50_000_000n
const masterKey = 'sk-master-0123456789'

function configOf(settings: object = {}) {
  const priced = (model_name: string) => ({
    model_name,
    litellm_params: {
      model: 'openai/gpt-4o-mini',
      api_base: openai.url,
      api_key: 'sk-upstream',
      max_parallel_requests: 64,
    },
    model_info: { input_cost_per_token: 0, output_cost_per_token: price },
  })
  const local = {
    model_name: 'local',
    litellm_params: {
      model: 'ollama_chat/llama3.2',
      api_base: ollama.url,
      max_parallel_requests: 4,
    },
  }
  return {
    model_list: [priced('one'), priced('two'), local],
    general_settings: { master_key: masterKey },
    litellm_settings: { num_retries: 0 },
    penstock_settings: settings,
  }
}

function ask(key: TestKey, gateway: number, body: object = {}): Promise<Answer> {
  const client = key.clients[gateway % key.clients.length]
  assert.ok(client !== undefined)
  const messages = [{ role: 'user', content: 'hello there' }]
  return client.post('/v1/chat/completions', { model: 'one', messages, max_tokens: 5, ...body })
}

const count = (answers: readonly Answer[], status: number) =>
  answers.filter((one) => one.status === status).length

/** What is set aside in the key's accounts for requests, in pico-dollars. */
async function reservedFor(key: TestKey): Promise<bigint> {
  const rows = await servers.db
    .selectFrom('account')
    .select('reserved_amount')
    .where('owner', '=', key.id)
    .execute()
  return sumOf(rows.map((row) => row.reserved_amount)) - (await lent(key))
}

/** What gateways may grant of the key's accounts without asking. */
async function lent(key: TestKey): Promise<bigint> {
  return sumOf((await allowances(key)).map(({ amount }) => amount))
}

function allowances({ id }: TestKey) {
  const rows = servers.db.selectFrom('reservation').select('amount').where('owner', '=', id)
  return rows.where('request_id', 'like', 'allowance/%').execute()
}

function sumOf(amounts: readonly string[]): bigint {
  return amounts.reduce((sum, amount) => sum + BigInt(amount), 0n)
}

test('200 requests at once on money for 50, through two gateway processes: exactly 50', async () => {
  const processes = await startProcesses({ servers, config: configOf() })
  try {
    await processes.start('router')
    await processes.start('worker')
    await Promise.all([processes.start('billing'), processes.start('billing')])
    const second = await processes.startGateway()
    const keys = await createKeys(processes.client, [processes.url, second.url])
    const key = await keys.make({ max_budget: 50 * answerPrice })
    const begun = openai.counts.started
    const asked = Array.from({ length: 200 }, (_, index) => ask(key, index))
    const answers = await Promise.all(asked)
    assert.deepEqual([count(answers, 200), count(answers, 429)], [50, 150])
    assert.equal(openai.counts.started - begun, 50)
    for (const answer of answers.filter(({ status }) => status === 429)) {
      assert.equal(errorOf(answer).type, 'budget_exceeded')
      assert.match(errorOf(answer).message, /spent and \$\S+ reserved of \$0\.0025;/)
    }
    await eventually('all is settled', async () => (await reservedFor(key)) === 0n)
    assert.equal(await keys.spendOf(key), 0.0025)
    const entries = servers.db.selectFrom('ledger').select('amount').where('key_id', '=', key.id)
    const rows = await entries.execute()
    const sum = rows.reduce((total, { amount }) => total + BigInt(amount), 0n)
    assert.deepEqual([rows.length, sum], [50, 2_500_000_000n])
    assert.equal((await ask(key, 0)).status, 429)
    await keys.close()
  } finally {
    await processes.close()
  }
})

test('700 requests on money for 600, granted by two gateways that ask later: exactly 600', async () => {
  const stack = await startStack({ servers, config: configOf(), count: { gateway: 2 } })
  try {
    const keys = await createKeys(stack.client, stack.urls)
    const key = await keys.make({ max_budget: 600 * answerPrice })
    const begun = openai.counts.started
    const answers: Answer[] = []
    let asked = 0
    async function askOn(): Promise<void> {
      while (asked < 700) answers.push(await ask(key, asked++))
    }
    const all = Promise.all(Array.from({ length: 20 }, askOn))
    await eventually('both have one', async () => (await allowances(key)).length === 2)
    await all
    assert.deepEqual([count(answers, 200), count(answers, 429)], [600, 100])
    assert.equal(openai.counts.started - begun, 600)
    await eventually('all is settled', async () => (await reservedFor(key)) === 0n)
    assert.equal(await keys.spendOf(key), 0.03)
    await keys.close()
  } finally {
    await stack.close()
  }
})

describe('one request at a time', () => {
  let stack: Stack
  let keys: Keys
  const log = recordLog()

  before(async () => {
    const count = { gateway: 2 }
    stack = await startStack({ servers, config: configOf(), count, loggerOf: log.loggerOf })
    keys = await createKeys(stack.client, stack.urls)
  })
  after(async () => {
    await keys.close()
    await stack.close()
  })
  afterEach(() => {
    openai.setBehaviour({ tokens: 5 })
    ollama.setBehaviour('normal')
  })

  test('the worst case is set aside, the truth is spent, and the headers say both', async () => {
    const key = await keys.make({ max_budget: 0.001 })
    const gate = Promise.withResolvers<void>()
    openai.setBehaviour({ tokens: 5, gate: gate.promise })
    const running = ask(key, 0, { max_tokens: 90 })
    await eventually('it is reserved', async () => (await reservedFor(key)) === 900_000_000n)
    const refused = await ask(key, 1, { max_tokens: 11 })
    const message = /\$0 spent and \$0\.0009 reserved of \$0\.001; this request may take \$0\.00011/
    assert.match(errorOf(refused).message, message)
    assert.equal(refused.headers.get('retry-after'), '1')
    gate.resolve()
    const answer = await running
    assert.equal(answer.headers.get('x-penstock-response-cost'), '0.00005')
    assert.equal(answer.headers.get('x-litellm-key-spend'), '0.00005')
    assert.equal(answer.headers.get('x-penstock-key-remaining'), '0.00095')
    await eventually('it is settled', async () => (await reservedFor(key)) === 0n)
    assert.equal(await keys.spendOf(key), 0.00005)
    assert.equal((await ask(key, 1, { max_tokens: 11 })).status, 200)
  })

  test('what failed or was left gives back what it had reserved', async () => {
    const key = await keys.make({ max_budget: 0.001 })
    openai.setBehaviour({ fault: failure(400, { message: 'no' }) })
    assert.equal((await ask(key, 0, { max_tokens: 90 })).status, 400)
    await eventually('the failed one is free', async () => (await reservedFor(key)) === 0n)

    openai.setBehaviour({ tokens: 50, tokenDelayMs: 50 })
    const [client] = key.clients
    const body = { model: 'one', messages: [{ role: 'user', content: 'x' }], max_tokens: 90 }
    const stream = await client?.open('/v1/chat/completions', { ...body, stream: true })
    await stream?.next()
    stream?.leave()
    await eventually(
      'the one that was left is settled',
      async () => (await reservedFor(key)) === 0n,
    )
    const spent = await eventually('and spent', () => keys.spendOf(key))
    assert.ok(spent < 0.0005, String(spent))
    openai.setBehaviour({ tokens: 5 })
    assert.equal((await ask(key, 0, { max_tokens: 40 })).status, 200)
  })

  /** A key with money for 300, of which two are spent and the second gateway holds some. */
  async function heldBySecond(): Promise<TestKey> {
    const key = await keys.make({ max_budget: 300 * answerPrice })
    for (let i = 0; i < 2; i++) assert.equal((await ask(key, 1)).status, 200)
    await eventually('it holds some', async () => (await allowances(key)).length === 1)
    // What billing is just being handed when it stops would come again half a minute later.
    await eventually('both are booked', async () => (await keys.spendOf(key)) >= 1.9 * answerPrice)
    return key
  }

  test('what one gateway holds and does not use is there for whoever asks another one', async () => {
    const key = await heldBySecond()
    await eventually('both are settled', async () => (await reservedFor(key)) === 0n)
    assert.equal(await lent(key), 64n * answerCost)
    const { json } = await stack.client.get(`/key/info?key=${key.id}`)
    assert.partialDeepStrictEqual(json, { info: { reserved: 0 } })
    assert.equal((await ask(key, 0, { max_tokens: 5 * 298 + 1 })).status, 429)
    assert.equal((await ask(key, 0, { max_tokens: 5 * 298 })).status, 200)
  })

  test('a key near the end of its budget has an allowance, too', async () => {
    const key = await keys.make({ max_budget: 40 * answerPrice })
    for (let asked = 1; asked <= 20; asked++) assert.equal((await ask(key, 0)).status, 200)
    await eventually('it holds one', async () => (await lent(key)) > 0n)
    const answers = await Promise.all(Array.from({ length: 25 }, (_, index) => ask(key, index)))
    assert.deepEqual([count(answers, 200), count(answers, 429)], [20, 5])
  })

  test('what a gateway holds is there for others, too, when billing was restarted meanwhile', async () => {
    const key = await heldBySecond()
    await stack.stop('billing')
    assert.equal((await ask(key, 1)).status, 200)
    await stack.start('billing')
    await eventually('all is booked', async () => (await keys.spendOf(key)) >= 2.9 * answerPrice)
    assert.equal((await ask(key, 0, { max_tokens: 5 * 297 })).status, 200)
  })

  test('a budget that was lowered holds within a second, for a burst as well', async () => {
    const key = await heldBySecond()
    const change = { key: key.id, max_budget: 2 * answerPrice }
    assert.equal((await stack.client.post('/key/update', change)).status, 200)
    // Everywhere within a second; nobody asks meanwhile, so that the gateway hears of it by itself.
    await sleep(1_000)
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(key, 1)))
    assert.equal(count(answers, 429), 10)
  })

  test('a budget for one model holds for that one alone', async () => {
    const budget = { max_budget: 1.5 * answerPrice, budget_duration: '1d' }
    const key = await keys.make({ model_max_budget: { one: budget } })
    assert.equal((await ask(key, 0)).status, 200)
    await eventually('it is settled', async () => (await reservedFor(key)) === 0n)
    const refused = await ask(key, 1)
    assert.equal(refused.status, 429)
    assert.match(errorOf(refused).message, /and model `one`: .* It resets at \d{4}-/)
    assert.equal((await ask(key, 1, { model: 'two' })).status, 200)
  })

  test('a soft budget is a line in the log and refuses nothing', async () => {
    const key = await keys.make({ soft_budget: 1.5 * answerPrice })
    for (const gateway of [0, 1, 0]) assert.equal((await ask(key, gateway)).status, 200)
    const isIt = ({ msg, owner }: { msg: string; owner?: unknown }) =>
      msg === 'soft budget reached' && owner === key.id
    await log.line('the soft budget', isIt)
    assert.equal(log.lines.filter(isIt).length, 1)
  })

  test('a local model has no price: money does not pay for it, but a token budget does', async () => {
    const refused = await ask(await keys.make({ max_budget: 1 }), 0, { model: 'local' })
    assert.equal(refused.status, 403)
    assert.equal(errorOf(refused).type, 'price_unknown')
    assert.equal((await ask(await keys.make({}), 0, { model: 'local' })).status, 200)

    const key = await keys.make({ max_tokens_budget: 400 })
    const gate = Promise.withResolvers<void>()
    ollama.setBehaviour({ gate: gate.promise })
    const begun = ollama.counts.started
    const running = ask(key, 0, { model: 'local' })
    await ollama.until(({ started }) => started === begun + 1)
    const late = await ask(key, 1, { model: 'local' })
    assert.equal(errorOf(late).type, 'budget_exceeded')
    assert.match(errorOf(late).message, /: 0 tokens spent and \d+ tokens reserved of 400 tokens;/)
    gate.resolve()
    assert.equal((await running).status, 200)
    // The prompt and the answer are short; what they did not take is free again.
    await eventually('room', async () => (await ask(key, 1, { model: 'local' })).status === 200)
  })
})

test('default prices are what an unpriced model is reserved, billed and told at', async () => {
  const budgets = { unknown_price: 'default', default_output_cost_per_token: 0.001 }
  const stack = await startStack({ servers, config: configOf({ budgets }) })
  try {
    const keys = await createKeys(stack.client, stack.urls)
    const key = await keys.make({ max_budget: 0.0065 })
    const answer = await ask(key, 0, { model: 'local' })
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.headers.get('x-penstock-response-cost'), '0.005')
    const [row] = await stack.spend.attempts(requestIdOf(answer), 1)
    assert.equal(row?.spend, 0.005)
    await eventually('it is settled', async () => (await reservedFor(key)) === 0n)
    assert.equal((await ask(key, 0, { model: 'local' })).status, 429)
    assert.equal((await ask(key, 0, { model: 'local', max_tokens: 1 })).status, 200)
    await keys.close()
  } finally {
    await stack.close()
  }
})

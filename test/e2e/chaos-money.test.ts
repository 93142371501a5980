// Billing, a gateway and Postgres are killed at random under 2,000 requests of all sizes: afterwards
// the ledger is what the upstream counted, the totals are what the ledger says, and nothing is held.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { freeAllowances } from '@penstock/billing-service/money/draw-allowances'
import { rebuild } from '@penstock/billing-service/money/rebuild'
import { sweepReservations } from '@penstock/billing-service/money/sweep'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { type Client, createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys, type TestKey } from '../harness/keys.ts'
import { type Processes, startProcesses } from '../harness/processes.ts'
import { untilIdle } from '../harness/queue-report.ts'
import { type Servers, startServers } from '../harness/servers.ts'

const requests = 2_000
const clients = 40
const kills = 12
/** US dollars per token of an answer; what is asked costs nothing. */
const price = 0.000_01

let servers: Servers
let fake: FakeOpenAi
let penstock: Processes

before(async () => {
  servers = await startServers()
  fake = await startFakeOpenAi({ keepCalls: 10_000, behaviour: { tokens: 40, tokenDelayMs: 1 } })
  penstock = await startProcesses({
    servers,
    config: {
      model_list: [
        {
          model_name: 'm',
          litellm_params: {
            model: 'openai/gpt-4o-mini',
            api_base: fake.url,
            api_key: 'sk-upstream',
            max_parallel_requests: 32,
          },
          model_info: { input_cost_per_token: 0, output_cost_per_token: price },
        },
      ],
      router_settings: { timeout: 30 },
      general_settings: { master_key: 'sk-master-0123456789' },
    },
  })
  await Promise.all((['router', 'worker', 'billing', 'billing'] as const).map(penstock.start))
  await penstock.ready()
})
after(async () => {
  await penstock.close()
  await Promise.all([fake.close(), servers.close()])
})

/** The same numbers in every run (mulberry32). */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** What became of a request whose `user` is its name. */
interface Sent {
  name: string
  tokens: number
  /** The status; null: the connection broke with its gateway. */
  status: number | null
}

test('billing, a gateway and Postgres die at random: the books are exact', async () => {
  const random = numbersFrom(4)
  const keys = await createKeys(penstock.client, [penstock.url])
  const key = await keys.make({ max_budget: 100, budget_duration: '30d' })
  let second = await penstock.startGateway()
  let direct = createClient(second.url, key.key)
  const sent: Sent[] = []

  async function ask(): Promise<void> {
    const name = `r${sent.length}`
    const entry: Sent = { name, tokens: 1 + random(40), status: null }
    sent.push(entry)
    const client = random(2) === 0 ? clientOf(key) : direct
    const stream = random(2) === 0
    const size = 1 + random(2_000)
    const messages = [{ role: 'user', content: 'x '.repeat(size) }]
    const body = { model: 'm', messages, stream, max_tokens: entry.tokens, user: name }
    const answer = await client.post('/v1/chat/completions', body).catch(() => null)
    entry.status = answer?.status ?? null
  }
  const load = Promise.all(
    Array.from({ length: clients }, async () => {
      while (sent.length < requests) await ask()
    }),
  )
  load.catch(() => {})

  let billing = await penstock.start('billing')
  const killers = [
    async () => {
      await penstock.kill(billing, 'SIGKILL')
      billing = await penstock.start('billing')
    },
    async () => {
      await penstock.kill(second, 'SIGKILL')
      second = await penstock.startGateway()
      const old = direct
      direct = createClient(second.url, key.key)
      await old.close()
    },
    async () => {
      await servers.postgres.kill()
      await servers.postgres.start()
    },
  ]
  for (let turn = 0; turn < kills; turn++) {
    await killers[turn % killers.length]?.()
    const begun = sent.length
    await eventually(
      'the load goes on',
      async () => sent.length >= begun + 40 || sent.length >= requests,
    )
  }
  await load
  await direct.close()
  await keys.close()
  // What a killed service had taken comes again after its ack wait of 30 s.
  await penstock.queues.empty(45_000)
  await untilIdle(penstock)

  const rows = await settledRows()
  const whole = sent.filter(({ status }) => status === 200)
  assert.ok(whole.length > requests / 2, `${whole.length} of ${requests} were answered`)
  // Nobody was refused for money.
  assert.deepEqual(
    sent.filter(({ status }) => status === 429),
    [],
  )

  // One row for each call of the upstream, and the tokens that it counted.
  assert.equal(rows.length, fake.counts.started)
  const rowsOf = Map.groupBy(rows, ({ end_user }) => end_user)
  for (const { name, tokens } of whole) {
    const own = rowsOf.get(name) ?? []
    const successes = own.filter(({ status }) => status === 'success')
    assert.deepEqual(
      successes.map(({ completion_tokens }) => Number(completion_tokens)),
      [tokens],
      name,
    )
  }
  const sum = (status: string) =>
    rows
      .filter((row) => row.status === status)
      .reduce((total, row) => total + Number(row.completion_tokens), 0)
  const cut = rows.filter(({ status }) => status !== 'success')
  const cutAtMost = cut.reduce(
    (total, { end_user }) => total + (sent.find(({ name }) => name === end_user)?.tokens ?? 0),
    0,
  )
  // A reply that was complete just as its gateway died may stand in the books as cancelled.
  const difference = fake.counts.completionTokens - sum('success')
  assert.ok(difference >= 0 && difference <= cutAtMost, `${difference} of ${cutAtMost}`)

  const { differences, ledger_usd } = await rebuild(servers.databaseUrl, true)
  assert.deepEqual(differences, [])
  const all = rows.reduce((total, row) => total + Number(row.completion_tokens), 0)
  assert.equal(Math.round(Number(ledger_usd) / price), all)

  const afterTheLeases = new Date(Date.now() + 120_000)
  while ((await sweepReservations(servers.db, afterTheLeases)) > 0);
  await freeAllowances(servers.db, afterTheLeases)
  const held = await servers.db
    .selectFrom('account')
    .select(['reserved_amount', 'reserved_tokens'])
    .where('owner', '=', key.id)
    .execute()
  for (const { reserved_amount, reserved_tokens } of held) {
    assert.deepEqual([reserved_amount, reserved_tokens], ['0', '0'])
  }
})

/** The ledger's rows, once each call of the upstream has one. */
function settledRows() {
  return eventually('every call is booked', async () => {
    const rows = await servers.db
      .selectFrom('request_log')
      .select(['end_user', 'status', 'completion_tokens'])
      .execute()
    return rows.length >= fake.counts.started ? rows : null
  })
}

function clientOf({ clients: [first] }: TestKey): Client {
  assert.ok(first !== undefined)
  return first
}

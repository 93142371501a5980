// What the tests of the money share: budgets, questions and usage of one key and team, and billing
// services on a NATS of their own.
import type { TestContext } from 'node:test'
import { type Database, openDatabasePool } from '@penstock/billing-service/database'
import { startBilling } from '@penstock/billing-service/start-billing'
import { startNats } from '@penstock/infra/servers/nats'
import { connectBus } from '@penstock/shared/bus/connect'
import { ask } from '@penstock/shared/bus/request-reply'
import type { AccountRef, ReserveQuestion } from '@penstock/shared/contracts/budget'
import { channels, streams } from '@penstock/shared/contracts/channels'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { type Kysely, sql } from 'kysely'
import { eventually } from '../harness/eventually.ts'
import { quiet, recordingLog, scratchDirectory, type startDatabases } from './billing-setup.ts'

type Databases = Awaited<ReturnType<typeof startDatabases>>

export const dollar = 1_000_000_000_000n
export const key: AccountRef = { kind: 'key', owner: 'k', model: '' }
export const team: AccountRef = { kind: 'team', owner: 't', model: '' }

interface Budget {
  max?: bigint
  soft?: bigint
  tokens?: number
  period?: string
  zone?: string
  start?: string
}

export async function setBudget(db: Kysely<Database>, account: AccountRef, budget: Budget) {
  const { max = null, soft = null, tokens: most = null, period = null, zone = null } = budget
  const start = budget.start ?? '-infinity'
  await sql`
    insert into account (kind, owner, model, max_amount, soft_amount, max_tokens, period, zone,
      period_start, resets_at)
    values (${account.kind}, ${account.owner}, ${account.model}, ${max?.toString() ?? null},
      ${soft?.toString() ?? null}, ${most}, ${period}, ${zone}, ${start}::timestamptz,
      budget_period_end(${period}, ${start}::timestamptz, ${zone}))`.execute(db)
}

export async function accountOf(db: Kysely<Database>, { kind, owner, model }: AccountRef) {
  const query = db.selectFrom('account').selectAll().where('kind', '=', kind)
  const row = await query
    .where('owner', '=', owner)
    .where('model', '=', model)
    .executeTakeFirstOrThrow()
  return {
    spent: BigInt(row.period_amount),
    total: BigInt(row.total_amount),
    reserved: BigInt(row.reserved_amount),
    tokens: Number(row.period_tokens),
    tokensReserved: Number(row.reserved_tokens),
    resetsAt: row.resets_at,
  }
}

const soon = () => Date.now() + 600_000

export function question(
  requestId: string,
  amount: bigint,
  changes: Partial<ReserveQuestion> = {},
) {
  const asked = { requestId, accounts: [key], amount: amount.toString(), tokens: 10 }
  return { ...asked, expiresAt: soon(), ...changes }
}

/** Of key `k` and team `t`; costs so much, by a price of a dollar per token. */
export function usage(
  requestId: string,
  dollars: number,
  changes: Partial<UsageEvent> = {},
): UsageEvent {
  return usageEventOf({
    requestId,
    priceRef: null,
    prices: { inputCostPerToken: 1 },
    usage: tokens(dollars, 0),
    caller: { keyId: 'k', userId: null, teamId: 't', endUser: null },
    receivedAt: Date.now(),
    ...changes,
  })
}

export async function reservations(db: Kysely<Database>) {
  const rows = await db.selectFrom('reservation').select(['request_id', 'amount']).execute()
  return rows.map((row) => [row.request_id, BigInt(row.amount)])
}

export async function freshDatabase(t: TestContext, databases: Databases) {
  const { db, url, close } = await databases.create()
  const pool = openDatabasePool({ databaseUrl: url, max: 2, statementTimeoutMs: 20_000 })
  t.after(() => Promise.all([pool.end(), close()]))
  return { db, url, pool }
}

/** A NATS of its own, services on it that share the database, and a bus to speak to them. */
export async function startServices(t: TestContext, databases: Databases, count: number) {
  const directory = await scratchDirectory()
  const nats = await startNats({ dataDir: directory.path, log: quiet })
  const database = await freshDatabase(t, databases)
  const bus = await connectBus({ natsUrl: nats.url, name: 'test', log: quiet })
  const recorder = recordingLog()
  const options = { natsUrl: nats.url, databaseUrl: database.url, log: recorder.log }
  const services = await Promise.all(Array.from({ length: count }, () => startBilling(options)))
  t.after(async () => {
    await Promise.all(services.map((service) => service.close()))
    await bus.close()
    await nats.close()
    await directory.remove()
  })
  return {
    bus,
    recorder,
    ...database,
    ask: (asked: ReserveQuestion) =>
      ask(bus, channels.reserve, channels.reserve.subject(), asked, 20_000),
    publish: (payload: unknown) =>
      bus.publisher.publish(channels.usage.subject(), Buffer.from(JSON.stringify(payload)), {}),
    stored: () =>
      eventually('all stored', async () => {
        return (await bus.jsm.streams.info(streams.usage.name)).state.messages === 0
      }),
  }
}

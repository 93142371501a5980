// How many usage events per second one billing service writes to the ledger, with totals, rollups and
// settlements: a full stream, the service's own consumer, a real PostgreSQL and NATS on this machine.
// `node test/bench/ledger-rate.ts` prints it; nothing is asserted.
import { setTimeout as sleep } from 'node:timers/promises'
import { openDatabasePool } from '@penstock/billing-service/database'
import { reserve } from '@penstock/billing-service/money/reserve'
import { startBilling } from '@penstock/billing-service/start-billing'
import { type Bus, connectBus } from '@penstock/shared/bus/connect'
import type { ReserveQuestion } from '@penstock/shared/contracts/budget'
import { channels, streams } from '@penstock/shared/contracts/channels'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { sql } from 'kysely'
import { type Servers, silent, startServers } from '../harness/servers.ts'

const events = 20_000
/** A worker sends what gathered while its last message was on its way. */
const eventsPerMessage = 4
const [keys, users, teams, models] = [200, 100, 10, 5]
/** Every so many requests had reserved something. */
const reservedOneIn = 4
const pollMs = 20
const limitMs = 60_000

const name = (kind: string, index: number, count: number) => `${kind}-${index % count}`

function eventOf(index: number): UsageEvent {
  return usageEventOf({
    requestId: `rate-${index}`,
    usage: tokens(1_000 + (index % 7), 200),
    group: name('group', index, models),
    caller: {
      keyId: name('key', index, keys),
      userId: name('user', index, users),
      teamId: name('team', index, teams),
      endUser: null,
    },
    tags: [name('tag', index, 3)],
    receivedAt: Date.now(),
  })
}

function questionOf(index: number): ReserveQuestion {
  return {
    requestId: `rate-${index}`,
    accounts: [{ kind: 'key', owner: name('key', index, keys), model: '' }],
    amount: '10000000000',
    tokens: 2_000,
    expiresAt: Date.now() + 600_000,
  }
}

async function fill(servers: Servers, bus: Bus): Promise<void> {
  await sql`
    insert into account (kind, owner, max_amount)
    select 'key', 'key-' || n, 1000000000000000 from generate_series(0, ${keys - 1}::int) as n
    `.execute(servers.db)
  const together = 250
  const { databaseUrl } = servers
  const pool = openDatabasePool({ databaseUrl, max: 1, statementTimeoutMs: 20_000 })
  for (let from = 0; from < events; from += together * reservedOneIn) {
    const asked = Array.from({ length: together }, (_, i) => questionOf(from + i * reservedOneIn))
    await reserve(pool, asked)
  }
  await pool.end()
  const subject = channels.usage.subject()
  for (let from = 0; from < events; from += together * eventsPerMessage) {
    await Promise.all(
      Array.from({ length: together }, (_, i) => {
        const first = from + i * eventsPerMessage
        const batch = Array.from({ length: eventsPerMessage }, (_, j) => eventOf(first + j))
        return bus.publisher.publish(subject, Buffer.from(JSON.stringify(batch)), {})
      }),
    )
  }
}

async function untilEmpty(bus: Bus): Promise<void> {
  const deadline = performance.now() + limitMs
  while ((await bus.jsm.streams.info(streams.usage.name)).state.messages > 0) {
    if (performance.now() > deadline) throw new Error(`not stored within ${limitMs / 1_000} s`)
    await sleep(pollMs)
  }
}

/** @returns events per second */
async function measure(): Promise<number> {
  const servers = await startServers()
  const { natsUrl, databaseUrl } = servers
  const bus = await connectBus({ natsUrl, name: 'ledger rate', log: silent })
  try {
    await fill(servers, bus)
    const begunAt = performance.now()
    const billing = await startBilling({ natsUrl, databaseUrl, log: silent })
    try {
      await untilEmpty(bus)
      return (events * 1_000) / (performance.now() - begunAt)
    } finally {
      await billing.close()
    }
  } finally {
    await bus.close()
    await servers.close()
  }
}

/** @returns what to print */
export async function measureLedgerRate(): Promise<string> {
  const rate = Math.round(await measure())
  return `One billing service writes ${rate} usage events/s, with totals and settlements`
}

if (import.meta.main) console.log(await measureLedgerRate())

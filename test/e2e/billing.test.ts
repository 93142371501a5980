// Billing services on a real NATS and a real PostgreSQL: whatever comes twice, is garbage, or comes
// while the database is away, the books are right in the end.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { migrate } from '@penstock/billing-service/migrate'
import { startBilling } from '@penstock/billing-service/start-billing'
import { startNats } from '@penstock/infra/servers/nats'
import { connectBus } from '@penstock/shared/bus/connect'
import { ask, askForBody } from '@penstock/shared/bus/request-reply'
import { channels, streams } from '@penstock/shared/contracts/channels'
import type { SpendLogRow } from '@penstock/shared/contracts/spend'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import type { z } from 'zod'
import {
  books,
  heartbeatWith,
  type LogLine,
  quiet,
  recordingLog,
  scratchDirectory,
  startDatabases,
} from './billing-setup.ts'

let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

/** A NATS of its own, a database of its own, and a bus to publish on as workers do. */
async function setUp(options: { migrated?: boolean } = {}) {
  const directory = await scratchDirectory()
  let nats = await startNats({ dataDir: directory.path, log: quiet })
  const database = await databases.create(options)
  const bus = await connectBus({ natsUrl: nats.url, name: 'test', log: quiet })
  const recorder = recordingLog()
  return {
    bus,
    database,
    recorder,
    start: () => startBilling({ natsUrl: nats.url, databaseUrl: database.url, log: recorder.log }),
    publish: (payload: unknown) =>
      bus.publisher.publish(channels.usage.subject(), Buffer.from(JSON.stringify(payload)), {}),
    /** Resolves when the bus that publishes is connected again. */
    async restartNats() {
      const back = new Promise<void>((resolve) => bus.onReconnect(resolve))
      await nats.close()
      nats = await startNats({ dataDir: directory.path, port: nats.port, log: quiet })
      await back
    },
    async waiting() {
      return (await bus.jsm.streams.info(streams.usage.name)).state.messages
    },
    async close() {
      await database.close()
      await bus.close()
      await nats.close()
      await directory.remove()
    },
  }
}

function eventsOf(count: number, prefix = 'req'): UsageEvent[] {
  return Array.from({ length: count }, (_, i) =>
    usageEventOf({ requestId: `${prefix}-${i}`, usage: tokens(100 + i, 0) }),
  )
}

function costOf(events: UsageEvent[]): bigint {
  return events.reduce((sum, { usage }) => sum + BigInt(usage.promptTokens) * 2_500_000n, 0n)
}

/** Events that were recorded or found to be recorded already. */
function handled(lines: LogLine[]): number {
  let count = 0
  for (const line of lines) {
    if (line.msg === 'usage recorded') count += 1
    if (line.msg === 'usage had been recorded before') count += Number(line.duplicates)
  }
  return count
}

test('an event that is published five times has one entry', async () => {
  const { start, publish, recorder, database, waiting, close } = await setUp()
  const billing = await start()
  const event = usageEventOf({ caller: { ...usageEventOf().caller, keyId: 'the-key-hash' } })
  for (let i = 0; i < 5; i++) await publish([event])
  await recorder.until('all five deliveries', (lines) => handled(lines) === 5)
  await billing.close()
  assert.equal((await books(database.db)).entries, 1)
  assert.equal(await waiting(), 0)

  const lines = recorder.lines.filter((line) => line.msg === 'usage recorded')
  assert.equal(lines.length, 1)
  assert.partialDeepStrictEqual(lines[0], {
    requestId: 'req-1',
    correlationId: 'corr-1',
    model: 'gpt-4o',
    promptTokens: 1_000,
    completionTokens: 200,
    costUsd: '0.0045',
  })
  assert.doesNotMatch(JSON.stringify(recorder.lines), /the-key-hash/)
  await close()
})

test('two billing services on one stream count each event once', async () => {
  const { start, publish, recorder, database, waiting, close } = await setUp()
  const services = await Promise.all([start(), start()])
  const events = eventsOf(200)
  const messages = [...events, ...events, ...events].map((event) => publish([event]))
  await Promise.all([...messages, publish(events)])
  await recorder.until('all deliveries', (lines) => handled(lines) >= 800)
  await Promise.all(services.map((service) => service.close()))
  const cost = costOf(events)
  assert.deepEqual(await books(database.db), {
    entries: 200,
    amount: cost,
    logged: 200,
    log_amount: cost,
  })
  assert.equal(await waiting(), 0)
  await close()
})

test('events published while no billing service runs are recorded when one does', async () => {
  const { start, publish, recorder, database, close } = await setUp()
  const events = eventsOf(50)
  for (const event of events) await publish([event])
  const billing = await start()
  await recorder.until('all of them', (lines) => handled(lines) === 50)
  await billing.close()
  assert.equal((await books(database.db)).amount, costOf(events))
  await close()
})

test('a restart of PostgreSQL loses nothing, is said once and shows in the heartbeat', async () => {
  const { bus, start, publish, recorder, database, waiting, close } = await setUp()
  const billing = await start()
  const events = eventsOf(300)
  for (const event of events.slice(0, 100)) await publish([event])
  await recorder.until('the first hundred', (lines) => handled(lines) === 100)

  await databases.stop()
  const sick = heartbeatWith(bus, (beat) => beat.problems.length > 0)
  for (const event of events.slice(100)) await publish([event])
  const said = (lines: LogLine[]) => lines.filter((line) => line.msg.startsWith('cannot record'))
  await recorder.until('that the database is away', (lines) => said(lines).length > 0)
  assert.match((await sick).problems.join(), /^database: /)

  await databases.restart()
  await heartbeatWith(bus, (beat) => beat.problems.length === 0)
  await recorder.until('the rest', (lines) => handled(lines) >= 300)
  await billing.close()
  assert.equal(await waiting(), 0)
  const { entries, amount } = await books(database.db)
  assert.deepEqual({ entries, amount }, { entries: 300, amount: costOf(events) })
  const reasons = said(recorder.lines).map((line) => line.problem)
  assert.ok(
    reasons.every((reason, i) => reason !== reasons[i - 1]),
    reasons.join(', '),
  )
  await close()
})

test('a restart of NATS loses nothing', async () => {
  const { start, publish, recorder, restartNats, database, close } = await setUp()
  const billing = await start()
  const events = eventsOf(20)
  await publish(events.slice(0, 10))
  await recorder.until('the first ten', (lines) => handled(lines) >= 10)
  await restartNats()
  await recorder.until('the reconnect', (lines) => lines.some((l) => l.msg.startsWith('reconn')))
  await publish(events.slice(10))
  await recorder.until('the rest', (lines) => handled(lines) >= 20)
  await billing.close()
  assert.equal((await books(database.db)).entries, 20)
  await close()
})

test('usage waits for a database that was not migrated yet', async () => {
  const { bus, start, publish, recorder, database, close } = await setUp({ migrated: false })
  const billing = await start()
  const sick = await heartbeatWith(bus, (beat) => beat.problems.length > 0)
  assert.deepEqual(sick.problems, ['database: not migrated: run `penstock migrate`'])
  await publish([usageEventOf()])
  await recorder.until('the failure', (lines) => lines.some((l) => l.msg.startsWith('cannot')))
  await migrate(database.url)
  await recorder.until('the entry', (lines) => handled(lines) === 1)
  await billing.close()
  await close()
})

test('garbage blocks nothing, is kept aside, and its content is not logged', async () => {
  const { bus, start, publish, recorder, database, waiting, close } = await setUp()
  const billing = await start()
  const subject = channels.usage.subject()
  const [first, second, third] = eventsOf(3)
  await publish([first])
  await bus.publisher.publish(subject, Buffer.from([0, 1, 2, 255]), {})
  await bus.publisher.publish(subject, Buffer.from('"a secret"'), {})
  await publish([{ ...usageEventOf(), status: 'a secret' }, second])
  await publish([usageEventOf({ requestId: 'too-big', attempt: 3_000_000_000 }), third])
  await recorder.until('the good ones', (lines) => handled(lines) === 3)
  await billing.close()
  assert.equal(await waiting(), 0)
  assert.equal((await books(database.db)).entries, 3)
  const letters = await database.db.selectFrom('usage_dead_letter').select('reason').execute()
  assert.equal(letters.length, 4)
  assert.doesNotMatch(JSON.stringify(recorder.lines), /a secret/)
  await close()
})

test('questions about spend are answered over the bus, and faults come back as such', async () => {
  const { bus, start, publish, recorder, close } = await setUp()
  const billing = await start()
  await publish(eventsOf(3))
  await recorder.until('the entries', (lines) => handled(lines) === 3)
  const { spendLogs, spendSummary } = channels
  const actor = { role: 'master' as const, keyId: 'master', userId: null, teamId: null }
  const askLogs = (query: z.input<typeof spendLogs.schema>, ms: number) =>
    askForBody(bus, spendLogs, spendLogs.subject(), query, ms)
  const logs = await askLogs({ actor, limit: 2 }, 10_000)
  assert.deepEqual(
    JSON.parse(`[${Buffer.from(logs.body)}]`).map((row: SpendLogRow) => row.request_id),
    ['req-2', 'req-1'],
  )
  const range = { actor, start_date: '2026-05-20', end_date: '2026-05-20' }
  const summary = await ask(bus, spendSummary, spendSummary.subject(), range, 10_000)
  assert.equal(summary.days[0]?.spend, 0.0007575)

  const refused = { code: 'invalid_request' }
  const odd = { actor, cursor: 'none of ours' }
  await assert.rejects(askLogs(odd, 10_000), refused)
  const unfit = { actor, api_key: 'a\0b' }
  await assert.rejects(askLogs(unfit, 10_000), refused)

  await databases.stop()
  const away = askLogs({ actor }, 20_000)
  await assert.rejects(away, { code: 'service_unavailable' })
  await databases.restart()
  await billing.close()
  await close()
})

// Questions about a ledger of a million rows, over HTTP: one key and day of /spend/logs, and totals.
// `npm run bench` prints it at its end; alone: `node test/bench/million.ts`. Nothing is asserted.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Database, openDatabase } from '@penstock/billing-service/database'
import { migrate } from '@penstock/billing-service/migrate'
import { keepPartitions } from '@penstock/billing-service/retention'
import { startBilling } from '@penstock/billing-service/start-billing'
import { startGateway } from '@penstock/gateway/start-gateway'
import { startNats } from '@penstock/infra/servers/nats'
import { startPostgres } from '@penstock/infra/servers/postgres'
import { parseConfig } from '@penstock/shared/config/load'
import { type Kysely, sql } from 'kysely'
import pino from 'pino'
import { type Client, createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { count, milliseconds, seconds } from './format.ts'
import { percentile } from './statistics.ts'

const rows = 1_000_000
const rowsPerStatement = 100_000
/** A key has so many rows a day: rows / (keys × days) = 333. */
const keys = 100
const days = 30
const questions = 100
/**
 * A process that has just begun touches its memory for the first time: 1,700 page faults a question, 18
 * microseconds each on a virtual machine. After some 70 questions it has all that it needs.
 */
const warmUp = 100
/** Filling is given up after this. */
const fillLimitMs = 180_000
const dayMs = 24 * 60 * 60_000
const masterKey = 'sk-of-the-million-rows'
const silent = pino({ level: 'silent' })

/** @returns lines for people */
export async function measureMillion(signal: AbortSignal): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'penstock-million-'))
  const closers = [() => rm(directory, { recursive: true, force: true })]
  try {
    const dataDir = join(directory, 'data')
    const postgres = await startPostgres({ dataDir, log: silent })
    closers.push(() => postgres.close())
    const nats = await startNats({ dataDir, log: silent })
    closers.push(() => nats.close())
    await migrate(postgres.url)
    const db = openDatabase({ databaseUrl: postgres.url, max: 1, statementTimeoutMs: fillLimitMs })
    closers.push(() => db.destroy())
    const begunAt = performance.now()
    const firstDay = await fill(db, signal)
    const filled = `${count(rows)} rows of ${keys} keys and ${days} days, filled in ${seconds(performance.now() - begunAt)}`

    const billing = await startBilling({
      natsUrl: nats.url,
      databaseUrl: postgres.url,
      log: silent,
    })
    closers.push(() => billing.close())
    const { config } = parseConfig(`general_settings: {master_key: ${masterKey}}`, {})
    const at = { natsUrl: nats.url, host: '127.0.0.1', port: 0 }
    const gateway = await startGateway({ ...at, config, secret: masterKey, log: silent })
    closers.push(() => gateway.close())
    const client = createClient(gateway.url, masterKey)
    closers.push(() => client.close())
    await eventually('billing', async () => (await client.get('/global/spend')).status === 200)
    return [filled, ...(await measure(client, firstDay, signal))]
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

/** As billing writes them, but in few statements. @returns the first day, epoch milliseconds */
async function fill(db: Kysely<Database>, signal: AbortSignal): Promise<number> {
  const giveUp = AbortSignal.any([signal, AbortSignal.timeout(fillLimitMs)])
  const today = Math.floor(Date.now() / dayMs) * dayMs
  const firstDay = today - days * dayMs
  const first = new Date(firstDay).toISOString()
  await sql`set synchronous_commit = off`.execute(db)
  const shared = sql.raw(`request_id, attempt, amount, price_source, prompt_tokens,
    completion_tokens, usage_estimated, key_id, user_id, team_id, end_user, tags, model_group,
    deployment_id, provider, model`)
  for (let from = 0; from < rows; from += rowsPerStatement) {
    giveUp.throwIfAborted()
    await sql`
      with made as materialized (
        select n, ${first}::timestamptz
            + floor(n * ${(days * dayMs) / rows}::float8) * interval '1 millisecond' as received_at,
          'req-' || md5(n::text) as request_id, 1 as attempt,
          'key_' || (n % ${keys}) as key_id, 'user-' || (n % ${keys} % 40) as user_id,
          'team-' || (n % ${keys} % 10) as team_id, null as end_user,
          array['tag-' || (hash % 5)] as tags, 'group-' || (hash % 6) as model_group,
          'deployment-' || (hash % 12) as deployment_id, 'openai' as provider,
          'model-' || (hash % 6) as model, 1000 + hash % 977 as prompt_tokens,
          100 + hash % 89 as completion_tokens, false as usage_estimated,
          1000000 * (1 + hash % 31) as amount, 'price-table' as price_source,
          case when hash % 50 = 0 then 'failure' else 'success' end as status
        from generate_series(${from}::int, ${from + rowsPerStatement - 1}::int) as n,
          lateral (select hashint4(n) & 2147483647 as hash) as random
      ), entered as (
        insert into ledger (kind, occurred_at, unit_prices, status, ${shared})
        select 'usage', received_at, '{"input": "0.0000025", "output": "0.00001"}', status, ${shared}
        from made
      )
      insert into request_log (received_at, correlation_id, status, operation, stream,
        requested_model, worker_id, started_at, first_token_at, ended_at, cached_prompt_tokens,
        cache_write_tokens, audio_prompt_tokens, reasoning_tokens, audio_completion_tokens,
        api_base, ${shared})
      select received_at, 'corr-' || n, status, 'chat', true, model_group, 'worker-1',
        received_at, received_at + interval '120 milliseconds', received_at + interval '3 seconds',
        0, 0, 0, 0, 0, 'https://api.example.org/v1', ${shared}
      from made`.execute(db)
  }
  await sql`insert into daily_spend select * from ledger_daily_spend`.execute(db)
  await sql`insert into daily_tag_spend select * from ledger_daily_tag_spend`.execute(db)
  await keepPartitions(db, { requestLogMs: null, promptsMs: null }, new Date())
  // What autovacuum does within a minute.
  await sql`vacuum analyze ledger, request_log, daily_spend, daily_tag_spend`.execute(db)
  return firstDay
}

async function measure(client: Client, firstDay: number, signal: AbortSignal): Promise<string[]> {
  const day = (n: number) => new Date(firstDay + (n % days) * dayMs).toISOString().slice(0, 10)
  const period = `start_date=${day(0)}&end_date=${day(days - 1)}`
  const asked: [what: string, path: (n: number) => string][] = [
    [
      '/spend/logs, all rows of one key and day',
      (n) => {
        const of = `api_key=key_${(n * 7) % keys}&start_date=${day(n)}&end_date=${day(n)}`
        return `/spend/logs?summarize=false&${of}`
      },
    ],
    ['/spend/logs, the newest 100', () => '/spend/logs?limit=100'],
    ['/spend/logs, the newest 100 of a team that failed', (n) => teamFailures(n)],
    ['/spend/logs, summary of the period', () => `/spend/logs?${period}`],
    ['/spend/keys', () => '/spend/keys'],
    ['/spend/tags', () => '/spend/tags'],
    ['/global/spend', () => '/global/spend'],
    ['/global/spend/report by team', () => `/global/spend/report?group_by=team&${period}`],
    ['/user/daily/activity of the period', () => `/user/daily/activity?${period}`],
  ]
  const lines: string[] = []
  for (const [what, path] of asked) {
    const times: number[] = []
    for (let n = 0; n < warmUp + questions; n++) {
      signal.throwIfAborted()
      const begunAt = performance.now()
      const answer = await client.get(path(n))
      if (answer.status !== 200) throw new Error(`${path(n)}: ${answer.status}: ${answer.text}`)
      if (n >= warmUp) times.push(performance.now() - begunAt)
    }
    const [p50, p95] = [0.5, 0.95].map((share) => milliseconds(percentile(times, share)))
    lines.push(`${what.padEnd(52)} p50 ${p50} ms   p95 ${p95} ms`)
  }
  return lines
}

function teamFailures(n: number): string {
  return `/spend/logs?limit=100&status=failure&team_id=team-${n % 10}`
}

if (import.meta.main) {
  console.log((await measureMillion(new AbortController().signal)).join('\n'))
}

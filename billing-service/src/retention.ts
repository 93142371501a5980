// Keeps the partitions of the request log and of the kept prompts: months are made ahead of time, and
// what is older than the policy allows is dropped. The ledger is kept for ever.
import { randomUUID } from 'node:crypto'
import type { PenstockSettings } from '@penstock/shared/config/config'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from './database.ts'
import { databaseErrorCode, databaseProblem } from './database-error.ts'

export type Retention = PenstockSettings['retention']

type Parent = 'request_log' | 'request_content'

export interface Kept {
  /** Partitions, by name. */
  made: string[]
  dropped: string[]
  /** Rows that went without their whole month. */
  deletedRows: number
}

const everyMs = 60 * 60_000
const retryMs = 60_000
/** Months made ahead, besides the present one. */
const monthsAhead = 2
/** Months of rows that came too early or too late for a partition: so many are made in one round. */
const maxLateMonths = 24
/** Prompts are held to the day, not to the month; so many rows in one statement and in one round. */
const rowsPerDelete = 10_000
const maxDeletes = 100
/** How long changing a table may keep questions and usage waiting, in milliseconds. */
const lockTimeoutMs = 2_000
/** Any number, as long as nobody else uses it: services take turns. */
const turn = 7_063_821

/** @returns how to stop */
export function startRetention(
  db: Kysely<Database>,
  settings: () => Retention,
  log: Logger,
): () => Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let working = Promise.resolve()
  let stopped = false

  const round = async () => {
    let nextMs = everyMs
    try {
      const { made, dropped, deletedRows } = await keepPartitions(db, settings(), new Date())
      if (made.length > 0) log.info({ made }, 'partitions made')
      if (dropped.length > 0 || deletedRows > 0) {
        log.info({ dropped, deletedRows }, 'dropped what is kept no longer')
      }
    } catch (error) {
      nextMs = retryMs
      const problem = databaseProblem(error)
      log.warn({ problem, code: databaseErrorCode(error) }, 'cannot look after the partitions')
    }
    if (!stopped) timer = setTimeout(start, nextMs)
  }
  const start = () => {
    working = round()
  }
  start()
  return async () => {
    stopped = true
    clearTimeout(timer)
    await working
  }
}

/**
 * One round. Each change is a transaction of its own, so that what cannot be done now (a long query
 * holds the table) leaves the rest done. Does nothing while another service is at it.
 * @throws the driver's error
 */
export async function keepPartitions(
  db: Kysely<Database>,
  retention: Retention,
  now: Date,
): Promise<Kept> {
  const kept: Kept = { made: [], dropped: [], deletedRows: 0 }
  const policies: [Parent, number | null][] = [
    ['request_log', retention.requestLogMs],
    ['request_content', shorter(retention.promptsMs, retention.requestLogMs)],
  ]
  for (const [parent, keepMs] of policies) {
    const cutoff = keepMs === null ? null : new Date(now.getTime() - keepMs)
    // What is too old goes first: no month is made for it.
    if (cutoff !== null) {
      kept.dropped.push(...(await dropMonths(db, parent, cutoff)))
      const table = parent === 'request_content' ? parent : `${parent}_default`
      kept.deletedRows += await deleteRows(db, table, parent, rowCutoff(parent, cutoff))
    }
    kept.made.push(...(await makeMonths(db, parent, now)))
  }
  return kept
}

/** Prompts are found through the request log, and so are of no use without it. */
function shorter(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b
  return Math.min(a, b)
}

/** The request log goes by whole months: of the cutoff's own month nothing. */
function rowCutoff(parent: Parent, cutoff: Date): Date {
  return parent === 'request_content' ? cutoff : monthOf(cutoff, 0)
}

async function makeMonths(db: Kysely<Database>, parent: Parent, now: Date): Promise<string[]> {
  const months = Array.from({ length: monthsAhead + 1 }, (_, ahead) => monthOf(now, ahead))
  const late = await sql<{ month: Date }>`
    select distinct date_trunc('month', received_at, 'UTC') as month
    from ${sql.ref(`${parent}_default`)} limit ${maxLateMonths}`.execute(db)
  const made: string[] = []
  for (const month of [...months, ...late.rows.map((row) => row.month)]) {
    const day = month.toISOString().slice(0, 10)
    const isNew = await inTurn(db, async (trx) => {
      const { rows } = await sql<{ made: boolean }>`
        select make_month_partition(${parent}, ${day}::date) as made`.execute(trx)
      return rows[0]?.made === true
    })
    if (isNew) made.push(partitionName(parent, month))
  }
  return made
}

async function dropMonths(db: Kysely<Database>, parent: Parent, cutoff: Date): Promise<string[]> {
  const dropped: string[] = []
  for (const name of await partitionsOf(db, parent)) {
    const month = monthOfName(parent, name)
    if (month === null || monthOf(month, 1) > cutoff) continue
    const isGone = await inTurn(db, async (trx) => {
      if (!(await partitionsOf(trx, parent)).includes(name)) return false
      await sql`drop table ${sql.ref(name)}`.execute(trx)
      await audit(trx, name, { before: cutoff.toISOString() })
      return true
    })
    if (isGone) dropped.push(name)
  }
  return dropped
}

async function deleteRows(
  db: Kysely<Database>,
  table: string,
  parent: Parent,
  before: Date,
): Promise<number> {
  let deleted = 0
  const key = sql`received_at, request_id, attempt`
  for (let statement = 0; statement < maxDeletes; statement++) {
    const count = await inTurn(db, async (trx) => {
      const result = await sql`
        delete from ${sql.ref(table)} where (${key}) in (
          select ${key} from ${sql.ref(table)} where received_at < ${before.toISOString()}::timestamptz
          order by received_at limit ${rowsPerDelete})`.execute(trx)
      const rows = Number(result.numAffectedRows ?? 0n)
      if (rows > 0) await audit(trx, parent, { before: before.toISOString(), rows })
      return rows
    })
    deleted += count ?? 0
    if (count === null || count < rowsPerDelete) break
  }
  return deleted
}

/** @returns null where another service is at it */
function inTurn<T>(
  db: Kysely<Database>,
  work: (trx: Transaction<Database>) => Promise<T>,
): Promise<T | null> {
  return db.transaction().execute(async (trx) => {
    await sql`select set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`.execute(trx)
    const { rows } = await sql<{ ours: boolean }>`
      select pg_try_advisory_xact_lock(${turn}) as ours`.execute(trx)
    return rows[0]?.ours === true ? work(trx) : null
  })
}

async function audit(
  trx: Transaction<Database>,
  objectId: string,
  after: { before: string; rows?: number },
): Promise<void> {
  await trx
    .insertInto('audit_log')
    .values({
      actor_role: 'system',
      correlation_id: randomUUID(),
      operation: 'retention.drop',
      object_kind: 'partition',
      object_id: objectId,
      after: JSON.stringify(after),
    })
    .execute()
}

async function partitionsOf(db: Kysely<Database>, parent: Parent): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = ${parent}::regclass order by relname`.execute(db)
  return rows.map((row) => row.name)
}

function partitionName(parent: Parent, month: Date): string {
  return `${parent}_${month.toISOString().slice(0, 7).replace('-', '_')}`
}

/** @returns the first moment of its month; null for the DEFAULT partition */
function monthOfName(parent: Parent, name: string): Date | null {
  const found = /^_(\d{4})_(\d\d)$/.exec(name.slice(parent.length))
  if (found === null) return null
  return new Date(Date.UTC(Number(found[1]), Number(found[2]) - 1))
}

/** The first moment (UTC) of the month that is so many after this one. */
function monthOf(moment: Date, later: number): Date {
  return new Date(Date.UTC(moment.getUTCFullYear(), moment.getUTCMonth() + later))
}

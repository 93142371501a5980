// Holds every total against the ledger, and what is reserved against the reservations; reports each
// difference, and mends it unless told not to. There must be none: whoever finds one has found a bug.
import type { SpendDifference, SpendRebuilt } from '@penstock/shared/contracts/admin/spend'
import { dollarText } from '@penstock/shared/pricing/money'
import { type Kysely, sql, type Transaction } from 'kysely'
import { type Database, openDatabase } from '../database.ts'
import { type Total, totals } from './totals.ts'

/** Of the differences so many are reported; all are mended. */
const maxReported = 500
const statementTimeoutMs = 30 * 60_000

interface DifferenceRow {
  row: string
  /** The columns' values by name, as text. */
  was: Record<string, string>
  ledger: Record<string, string>
  /** Of all rows that differ. */
  count: string
}

/**
 * One statement compares one kind of totals, and so sees one moment. Only where there is something to
 * mend the books are locked: usage and reservations then wait until the transaction ends.
 */
export async function rebuildTotals(
  trx: Transaction<Database>,
  dryRun: boolean,
): Promise<SpendRebuilt> {
  // The planner may take the lookups of millions of rows for so dear that compiling them pays.
  await sql`set local jit = off`.execute(trx)
  let found = await differencesOf(trx)
  if (!dryRun && found.count > 0) {
    await lockBooks(trx)
    found = await differencesOf(trx)
    for (const total of totals) await mend(trx, total)
  }
  const { rows } = await sql<{ entries: string; amount: string }>`
    select count(*) as entries, coalesce(sum(amount), 0) as amount from ledger`.execute(trx)
  const [ledger] = rows
  return {
    dry_run: dryRun,
    ledger_entries: Number(ledger?.entries ?? 0),
    ledger_usd: dollarText(BigInt(ledger?.amount ?? 0)),
    differing: found.count,
    differences: found.differences,
  }
}

/**
 * The same on a connection of its own, for the command line.
 * @throws the driver's error
 */
export async function rebuild(databaseUrl: string, dryRun: boolean): Promise<SpendRebuilt> {
  const db = openDatabase({ databaseUrl, max: 1, statementTimeoutMs })
  try {
    return await db.transaction().execute((trx) => rebuildTotals(trx, dryRun))
  } finally {
    await db.destroy()
  }
}

/** In the order in which a settlement takes its locks; it holds them all or none. */
async function lockBooks(trx: Transaction<Database>): Promise<void> {
  await sql`lock table ledger in share mode`.execute(trx)
  await sql`lock table daily_spend, daily_tag_spend, account, reservation in share row exclusive mode
    `.execute(trx)
}

async function differencesOf(trx: Transaction<Database>) {
  let count = 0
  const differences: SpendDifference[] = []
  for (const total of totals) {
    const rows = await compare(trx, total)
    count += Number(rows[0]?.count ?? 0)
    for (const { row, was, ledger } of rows) {
      if (differences.length === maxReported) break
      differences.push({ total: total.name, row, fields: changedFields(was, ledger) })
    }
  }
  return { count, differences }
}

async function compare(trx: Kysely<Database>, total: Total): Promise<DifferenceRow[]> {
  const rowKey = sql.raw(total.key.map((name) => `${name}::text`).join(`, `))
  const values = (source: string) =>
    sql.raw(total.sums.map((name) => `'${name}', coalesce(${source}.${name}, 0)::text`).join(', '))
  const { rows } = await sql<DifferenceRow>`
    select concat_ws('/', ${rowKey}) as row, json_build_object(${values('found')}) as was,
      json_build_object(${values('must')}) as ledger, count(*) over () as count
    from ${sql.raw(total.table)} as found
    full join ${sql.raw(total.truth)} as must using (${sql.raw(total.key.join(', '))})
    where ${differs(total)}
    order by 1
    limit ${maxReported}`.execute(trx)
  return rows
}

async function mend(trx: Kysely<Database>, total: Total): Promise<void> {
  const key = sql.raw(total.key.join(', '))
  const sums = sql.raw(total.sums.join(', '))
  // Rows without a counterpart in the ledger come to nothing; an account keeps its limits so.
  await sql`
    with wrong as materialized (
      select ${key}, ${sql.raw(total.sums.map((name) => `coalesce(must.${name}, 0) as ${name}`).join(', '))}
      from ${sql.raw(total.table)} as found
      full join ${sql.raw(total.truth)} as must using (${key})
      where ${differs(total)}
    )
    insert into ${sql.raw(total.table)} (${key}, ${sums})
    select ${key}, ${sums} from wrong order by ${key}
    on conflict (${key}) do update
    set ${sql.raw(total.sums.map((name) => `${name} = excluded.${name}`).join(', '))}`.execute(trx)
}

function differs({ sums }: Total) {
  return sql.raw(
    sums.map((name) => `coalesce(found.${name}, 0) <> coalesce(must.${name}, 0)`).join(' or '),
  )
}

function changedFields(was: Record<string, string>, ledger: Record<string, string>) {
  return Object.fromEntries(
    Object.entries(ledger)
      .filter(([name, value]) => was[name] !== value)
      .map(([name, value]) => [
        name,
        { was: shown(name, was[name] ?? '0'), ledger: shown(name, value) },
      ]),
  )
}

function shown(name: string, value: string): string {
  return name.endsWith('amount') ? dollarText(BigInt(value)) : value
}

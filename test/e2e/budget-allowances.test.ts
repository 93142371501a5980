// Allowances on a real PostgreSQL: what gateways may grant without asking is reserved all the same,
// becomes their requests' reservations, and comes back; told twice, late or never, nothing is lost.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDatabase } from '@penstock/billing-service/database'
import {
  drawAllowances,
  forgetHolders,
  freeAllowances,
} from '@penstock/billing-service/money/draw-allowances'
import { rebuild } from '@penstock/billing-service/money/rebuild'
import { reserve } from '@penstock/billing-service/money/reserve'
import { sweepReservations } from '@penstock/billing-service/money/sweep'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { listen } from '@penstock/shared/bus/broadcast'
import { ask as exchange } from '@penstock/shared/bus/request-reply'
import type {
  AccountRef,
  AllowanceQuestion,
  ReserveQuestion,
} from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
import { sql } from 'kysely'
import { quiet, startDatabases } from './billing-setup.ts'
import {
  accountOf,
  dollar,
  freshDatabase,
  key,
  question,
  reservations,
  setBudget,
  startServices,
  team,
  usage,
} from './money-setup.ts'

let number = 0
let databases: Awaited<ReturnType<typeof startDatabases>>

before(async () => {
  databases = await startDatabases()
})
after(() => databases.close())

/** An allowance for so many requests of a dollar and ten tokens each. */
const wish = (account: AccountRef, requests: number) => {
  return { ...account, amount: String(dollar), tokens: 10, requests }
}
type Asked = Partial<Omit<AllowanceQuestion, 'draws'>> & {
  draws?: (ReserveQuestion & { since?: number })[]
}
/** The gateway's next message. */
function asked({ draws = [], ...changes }: Asked): AllowanceQuestion {
  number += 1
  const told = draws.map((one) => ({ since: number, ...one }))
  return { holder: 'g', number, answered: 0, draws: told, wishes: [], ...changes }
}
/** A budget of a hundred dollars of which gateway `g` may grant so many. */
async function lent(t: Parameters<typeof freshDatabase>[0], dollars: number) {
  const { db, pool, url } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 100n * dollar })
  const tell = (changes: Asked) => drawAllowances(pool, asked(changes))
  await tell({ wishes: [wish(key, dollars)] })
  const held = async () => (await accountOf(db, key)).reserved / dollar
  assert.equal(await held(), BigInt(dollars))
  return { db, pool, url, tell, held }
}

test('an account lends whole requests, a quarter of what it has left at most, in money and in tokens', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 40n * dollar, tokens: 320 })
  await setBudget(db, team, {})
  const allowances = async (...wishes: AllowanceQuestion['wishes']) => {
    const { accounts } = await drawAllowances(pool, asked({ wishes }))
    return accounts.map(({ kind, allowance, reserved }) => {
      return [kind, BigInt(allowance.amount) / dollar, allowance.tokens, BigInt(reserved) / dollar]
    })
  }
  const tenDollars = { ...wish(key, 3), amount: String(10n * dollar) }
  assert.deepEqual(await allowances({ ...tenDollars, tokens: 81 }), [['key', 0n, 0, 0n]])
  assert.deepEqual(await allowances(tenDollars), [['key', 10n, 10, 10n]])
  assert.deepEqual(await allowances(wish(key, 0)), [['key', 0n, 0, 0n]])
  assert.deepEqual(await allowances(wish(key, 3)), [['key', 3n, 30, 3n]])
  // What it has is more than enough: nothing grows, and nothing is taken away.
  assert.deepEqual(await allowances(wish(key, 2)), [['key', 3n, 30, 3n]])
  assert.deepEqual(await allowances(wish(key, 64)), [['key', 7n, 70, 7n]])
  // No limit of its own: it lends whatever is wished for. Nobody knows the third one.
  const stranger = { ...key, owner: 'nobody' }
  assert.deepEqual(await allowances(wish(team, 64), wish(stranger, 1)), [['team', 64n, 640, 64n]])
  assert.deepEqual(await allowances(wish(key, 0)), [['key', 0n, 0, 0n]])
  assert.deepEqual(await reservations(db), [['allowance/g', 64n * dollar]])
})

test('an account that has less than four such requests left, or is overdrawn, lends nothing', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  const wishes = [wish(key, 64)]
  await setBudget(db, key, { max: 4n * dollar })
  const lends = async () => {
    const { accounts } = await drawAllowances(pool, asked({ wishes }))
    await drawAllowances(pool, asked({ wishes: [wish(key, 0)] }))
    return accounts.map(({ allowance }) => [BigInt(allowance.amount) / dollar, allowance.tokens])
  }
  assert.deepEqual(await lends(), [[1n, 10]])
  await recordUsage(db, [usage('one', 1)])
  assert.deepEqual(await lends(), [[0n, 0]])
  await recordUsage(db, [usage('dear', 9)])
  assert.deepEqual(await lends(), [[0n, 0]])
})

test('what was granted becomes the reservation of its request, once, and is settled like any other', async (t) => {
  const { db, url, tell, held } = await lent(t, 5)
  const draws = [question('a', dollar), question('b', dollar)]
  for (const _ of ['told', 'told again']) {
    const { accounts } = await tell({ draws })
    assert.deepEqual(
      accounts.map(({ allowance, reserved }) => [allowance.amount, reserved]),
      [[String(3n * dollar), String(5n * dollar)]],
    )
  }
  assert.deepEqual((await reservations(db)).sort(), [
    ['a', dollar],
    ['allowance/g', 3n * dollar],
    ['b', dollar],
  ])
  await recordUsage(db, [usage('a', 0)])
  assert.equal(await held(), 4n)
  await recordUsage(db, [], [{ requestId: 'b', within: 0 }])
  assert.equal(await held(), 3n)
  const differing = await rebuild(url, true)
  assert.deepEqual(differing.differences, [])
})

test('what is told again once its usage is booked takes nothing more of the allowance', async (t) => {
  const { db, tell, held } = await lent(t, 5)
  const draws = [question('a', dollar)]
  await tell({ draws })
  await recordUsage(db, [usage('a', 1)])
  assert.equal(await held(), 4n)
  // The answer was lost: the gateway counts on four dollars still.
  const { accounts } = await tell({ draws: draws.map((one) => ({ ...one, since: number })) })
  assert.equal(accounts[0]?.allowance.amount, String(4n * dollar))
  assert.equal(await held(), 4n)
})

test('a request whose usage was quicker holds nothing any more', async (t) => {
  const { db, tell, held } = await lent(t, 5)
  await recordUsage(db, [usage('quick', 1)])
  // Another attempt of this one still runs.
  await recordUsage(db, [usage('slow', 1, { status: 'interrupted' })])
  assert.equal(await held(), 5n)
  await tell({ draws: [question('quick', dollar), question('slow', dollar)] })
  assert.equal(await held(), 4n)
  assert.deepEqual((await reservations(db)).sort(), [
    ['allowance/g', 3n * dollar],
    ['slow', dollar],
  ])
})

test('what a gateway holds of which nobody hears is freed; it is told so, and nothing is done', async (t) => {
  const { db, pool, tell, held } = await lent(t, 5)
  const at = (seconds: number) => new Date(Date.now() + seconds * 1_000)
  assert.equal(await freeAllowances(db, at(19)), 0)
  // Only that frees it: the gateway may have granted all of it and only not been heard.
  assert.equal(await sweepReservations(db, at(100_000_000)), 0)
  const rest = question('rest', 96n * dollar)
  const refusals = [await reserve(pool, [rest], at(9)), await reserve(pool, [rest], at(11))]
  // Nothing can be called back from a gateway that says nothing any more.
  for (const [index, lent] of [true, false].entries()) {
    assert.partialDeepStrictEqual(refusals[index], [{ granted: false, lent }])
  }
  // It is there, although it has nothing to say.
  await drawAllowances(pool, asked({}), at(10))
  assert.equal(await freeAllowances(db, at(29)), 0)
  assert.equal(await freeAllowances(db, at(31)), 1)
  assert.equal(await held(), 0n)
  const late = { draws: [question('late', dollar)] }
  assert.deepEqual(await tell(late), { ended: true, accounts: [] })
  assert.equal(await held(), 0n)
  // Under another name: what it granted of the allowance is reserved all the same, it is being spent.
  const { ended, accounts } = await tell({ ...late, holder: 'anew' })
  assert.deepEqual([ended, accounts[0]?.allowance.amount], [false, '0'])
  assert.equal(await held(), 1n)
})

test('a gateway that comes back after hours, or to an older database, hears that it holds nothing', async (t) => {
  const { db, tell, held } = await lent(t, 5)
  await sql`update allowance_holder set heard_at = heard_at - interval '2 hours'`.execute(db)
  assert.equal(await freeAllowances(db), 1)
  await forgetHolders(db)
  assert.deepEqual(await tell({ answered: number }), { ended: true, accounts: [] })
  await tell({ holder: 'other', wishes: [wish(key, 5)] })
  await sql`update allowance_holder set heard = heard - 1`.execute(db)
  const { ended } = await tell({ holder: 'other', answered: number })
  assert.deepEqual([ended, await held()], [true, 5n])
})

test('a gateway that is heard while it is being freed either keeps what it holds or hears that it does not', async (t) => {
  const { db, pool, held } = await lent(t, 5)
  const later = new Date(Date.now() + 21_000)
  const heard = await db.transaction().execute(async (trx) => {
    assert.equal(await freeAllowances(trx, later), 1)
    const heard = drawAllowances(pool, asked({ draws: [question('late', dollar)] }), later)
    const isDone = await Promise.race([heard.then(() => true), sleep(300, false)])
    assert.equal(isDone, false)
    return { heard }
  })
  assert.deepEqual(await heard.heard, { ended: true, accounts: [] })
  assert.equal(await held(), 0n)
})

test('a message that is handled behind a later one changes nothing', async (t) => {
  const { db, tell, pool, held } = await lent(t, 5)
  const draws = [question('a', dollar)]
  const lost = asked({ draws, wishes: [wish(key, 0)] })
  await tell({ draws })
  await recordUsage(db, [], [{ requestId: 'a', within: 0 }])
  assert.equal(await held(), 4n)
  assert.deepEqual(await drawAllowances(pool, lost), { ended: false, accounts: [] })
  assert.deepEqual(await reservations(db), [['allowance/g', 4n * dollar]])
})

test('usage that is being booked meanwhile leaves nothing reserved, under whatever group it is booked', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  const fallback = { ...key, model: 'fallback' }
  await setBudget(db, key, {})
  await setBudget(db, fallback, { max: 100n * dollar })
  const tell = (changes: Asked) => drawAllowances(pool, asked(changes))
  await tell({ wishes: [wish(fallback, 5)] })
  const drawing = await db.transaction().execute(async (trx) => {
    await recordUsage(trx, [usage('quick', 1)])
    const drawing = tell({ draws: [question('quick', dollar, { accounts: [fallback] })] })
    const isDone = await Promise.race([drawing.then(() => true), sleep(300, false)])
    assert.equal(isDone, false)
    return { drawing }
  })
  await drawing.drawing
  assert.deepEqual(await reservations(db), [['allowance/g', 4n * dollar]])
})

test('to give back a few of thousands of allowances takes no longer than to be lent them', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await sql`insert into account (kind, owner) select 'key', i::text from generate_series(0, 9999) i
    `.execute(db)
  /** In milliseconds. */
  async function tell(from: number, requests: number): Promise<number> {
    const owners = Array.from({ length: 250 }, (_, i) => String(from + i))
    const begun = performance.now()
    const wishes = owners.map((owner) => wish({ ...key, owner }, requests))
    await drawAllowances(pool, asked({ wishes }))
    return performance.now() - begun
  }
  const lending: number[] = []
  for (let from = 0; from < 10_000; from += 250) lending.push(await tell(from, 64))
  // Written again since, as those are that are granted of.
  for (const from of [0, 250, 500]) await tell(from, 65)
  const back = [await tell(0, 0), await tell(250, 0), await tell(500, 0)]
  const mean = lending.reduce((sum, ms) => sum + ms, 0) / lending.length
  assert.ok(Math.min(...back) < 4 * mean, `${back} for ${mean}`)
})

test('a gateway that held thousands is freed in statements that are short', async (t) => {
  const { db, pool, url } = await freshDatabase(t, databases)
  await sql`insert into account (kind, owner) select 'key', i::text from generate_series(0, 19999) i
    `.execute(db)
  await drawAllowances(pool, asked({ wishes: [wish({ ...key, owner: '0' }, 1)] }))
  await sql`insert into reservation (request_id, kind, owner, model, amount, tokens, expires_at)
    select 'allowance/g', kind, owner, model, 1, 1, 'infinity' from account where owner <> '0'
    `.execute(db)
  await sql`update account set reserved_amount = 1, reserved_tokens = 1 where owner <> '0'`.execute(
    db,
  )
  const hasty = openDatabase({ databaseUrl: url, max: 1, statementTimeoutMs: 200 })
  try {
    assert.equal(await freeAllowances(hasty, new Date(Date.now() + 21_000)), 20_000)
  } finally {
    await hasty.destroy()
  }
  const held = db.selectFrom('account').select('owner').where('reserved_amount', '>', '0')
  assert.deepEqual([await held.execute(), await reservations(db)], [[], []])
})

test('a refusal says whether something is lent', async (t) => {
  const { pool, tell } = await lent(t, 5)
  const all = question('all', 96n * dollar)
  assert.partialDeepStrictEqual(await reserve(pool, [all]), [{ granted: false, lent: true }])
  await tell({ wishes: [wish(key, 0)] })
  assert.partialDeepStrictEqual(await reserve(pool, [all]), [{ granted: true }])
  const more = question('more', 5n * dollar)
  assert.partialDeepStrictEqual(await reserve(pool, [more]), [{ granted: false, lent: false }])
})

test('two that hold allowances of two accounts, told of in either order, never block each other', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  for (const account of [key, team]) await setBudget(db, account, { max: 1_000_000n * dollar })
  const rounds = Array.from({ length: 40 }, (_, i) => {
    const accounts = i % 2 === 0 ? [key, team] : [team, key]
    return drawAllowances(pool, {
      holder: `g${i % 4}`,
      number: i + 1,
      answered: 0,
      draws: [{ ...question(`r${i}`, dollar, { accounts }), since: i + 1 }],
      wishes: accounts.map((account) => wish(account, 10)),
    })
  })
  await Promise.all(rounds)
  for (const account of [key, team]) {
    const { reserved } = await accountOf(db, account)
    const all = await db
      .selectFrom('reservation')
      .select('amount')
      .where('kind', '=', account.kind)
      .execute()
    assert.equal(
      reserved,
      all.reduce((sum, { amount }) => sum + BigInt(amount), 0n),
    )
    assert.ok(reserved >= 80n * dollar, String(reserved / dollar))
  }
})

test('a service calls back what a gateway holds before it refuses', async (t) => {
  const { db, bus, ask } = await startServices(t, databases, 2)
  await setBudget(db, key, { max: 100n * dollar })
  const { allowance: channel, recall } = channels
  const tell = (changes: Asked) => exchange(bus, channel, channel.subject(), asked(changes), 5_000)
  await tell({ wishes: [wish(key, 6)] })
  const recalled: AccountRef[] = []
  listen(bus, quiet, recall, (account) => {
    recalled.push(account)
    void tell({ draws: [question('granted', 5n * dollar)], wishes: [wish(key, 0)] })
  })
  await bus.nc.flush()
  // Two dollars more than there are: whatever was granted of the allowance stays.
  assert.partialDeepStrictEqual(await ask(question('much', 97n * dollar)), {
    granted: false,
    by: { reserved: String(5n * dollar) },
    lent: false,
  })
  assert.deepEqual(recalled[0], key)
  await tell({ wishes: [wish(key, 5)] })
  assert.partialDeepStrictEqual(await ask(question('rest', 95n * dollar)), { granted: true })
})

// Allowances on a real PostgreSQL: what gateways may grant without asking is reserved all the same,
// becomes their requests' reservations, and comes back; told twice, late or never, nothing is lost.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { drawAllowances } from '@penstock/billing-service/money/draw-allowances'
import { rebuild } from '@penstock/billing-service/money/rebuild'
import { reserve } from '@penstock/billing-service/money/reserve'
import { sweepReservations } from '@penstock/billing-service/money/sweep'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { listen } from '@penstock/shared/bus/broadcast'
import { ask as exchange } from '@penstock/shared/bus/request-reply'
import type { AccountRef, AllowanceQuestion } from '@penstock/shared/contracts/budget'
import { channels } from '@penstock/shared/contracts/channels'
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

const wish = (account: AccountRef, dollars: number, tokens = 0) => {
  return { ...account, amount: String(BigInt(dollars) * dollar), tokens }
}
/** The gateway's next message. */
const asked = (changes: Partial<AllowanceQuestion>): AllowanceQuestion => {
  return { holder: 'g', number: ++number, draws: [], wishes: [], ...changes }
}
/** A budget of a hundred dollars of which gateway `g` may grant so many. */
async function lent(t: Parameters<typeof freshDatabase>[0], dollars: number) {
  const { db, pool, url } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 100n * dollar })
  const tell = (changes: Partial<AllowanceQuestion>) => drawAllowances(pool, asked(changes))
  await tell({ wishes: [wish(key, dollars)] })
  const held = async () => (await accountOf(db, key)).reserved / dollar
  assert.equal(await held(), BigInt(dollars))
  return { db, pool, url, tell, held }
}

test('an account lends what it could lend sixteen times over, in money and in tokens', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  await setBudget(db, key, { max: 32n * dollar, tokens: 320 })
  await setBudget(db, team, {})
  const allowances = async (...wishes: AllowanceQuestion['wishes']) => {
    const { accounts } = await drawAllowances(pool, asked({ wishes }))
    return accounts.map(({ kind, allowance, reserved }) => {
      return [kind, BigInt(allowance.amount) / dollar, allowance.tokens, BigInt(reserved) / dollar]
    })
  }
  assert.deepEqual(await allowances(wish(key, 3)), [['key', 0n, 0, 0n]])
  assert.deepEqual(await allowances(wish(key, 2, 21)), [['key', 0n, 0, 0n]])
  assert.deepEqual(await allowances(wish(key, 2, 20)), [['key', 2n, 20, 2n]])
  // What it has is more than enough: nothing grows, and nothing is taken away.
  assert.deepEqual(await allowances(wish(key, 1, 10)), [['key', 2n, 20, 2n]])
  assert.deepEqual(await allowances(wish(key, 2, 20)), [['key', 2n, 20, 2n]])
  // No limit of its own: it lends whatever is wished for. Nobody knows the third one.
  const stranger = { ...key, owner: 'nobody' }
  assert.deepEqual(await allowances(wish(team, 900), wish(stranger, 1)), [['team', 900n, 0, 900n]])
  assert.deepEqual(await allowances(wish(key, 0)), [['key', 0n, 0, 0n]])
  assert.deepEqual(await reservations(db), [['allowance/g', 900n * dollar]])
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

test('an allowance that nobody renews expires, and is freed where that is said', async (t) => {
  const { db, pool, tell, held } = await lent(t, 5)
  const at = (seconds: number) => new Date(Date.now() + seconds * 1_000)
  assert.equal(await sweepReservations(db, at(19)), 0)
  assert.equal(await sweepReservations(db, at(21), false), 0)
  // Its gateway may have granted all of it and only not been heard: nobody else is given that.
  const rest = question('rest', 96n * dollar)
  const [refused] = await reserve(pool, [rest], at(21))
  assert.partialDeepStrictEqual(refused, { granted: false, lent: true })
  const renewing = asked({ draws: [question('granted', dollar)] })
  await drawAllowances(pool, renewing, at(10))
  assert.equal(await sweepReservations(db, at(29)), 0)
  assert.equal(await sweepReservations(db, at(31)), 1)
  assert.equal(await held(), 1n)
  // What was granted of it meanwhile is reserved all the same: it is being spent.
  const { accounts } = await tell({ draws: [question('late', dollar)] })
  assert.equal(accounts[0]?.allowance.amount, '0')
  assert.equal(await held(), 2n)
})

test('a message that is handled behind a later one changes nothing', async (t) => {
  const { db, tell, pool, held } = await lent(t, 5)
  const draws = [question('a', dollar)]
  const lost = asked({ draws, wishes: [wish(key, 0)] })
  await tell({ draws })
  await recordUsage(db, [], [{ requestId: 'a', within: 0 }])
  assert.equal(await held(), 4n)
  assert.deepEqual(await drawAllowances(pool, lost), { accounts: [] })
  assert.deepEqual(await reservations(db), [['allowance/g', 4n * dollar]])
})

test('usage that is being booked meanwhile leaves nothing reserved, under whatever group it is booked', async (t) => {
  const { db, pool } = await freshDatabase(t, databases)
  const fallback = { ...key, model: 'fallback' }
  await setBudget(db, key, {})
  await setBudget(db, fallback, { max: 100n * dollar })
  const tell = (changes: Partial<AllowanceQuestion>) => drawAllowances(pool, asked(changes))
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
      draws: [question(`r${i}`, dollar, { accounts })],
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
  const tell = (changes: Partial<AllowanceQuestion>) =>
    exchange(bus, channel, channel.subject(), asked(changes), 5_000)
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

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReserveQuestion, ReserveReply } from '@penstock/shared/contracts/budget'
import type { PenstockError } from '@penstock/shared/contracts/errors'
import pino from 'pino'
import { createReserveDesk, type Reserve } from './answer-reserve.ts'

const quiet = pino({ level: 'silent' })
const granted: ReserveReply = { granted: true, accounts: [] }

function question(requestId: string, expiresAt = Number.MAX_SAFE_INTEGER): ReserveQuestion {
  const accounts = [{ kind: 'key' as const, owner: 'k', model: '' }]
  return { requestId, accounts, amount: '1', tokens: 1, expiresAt }
}

/** A database whose statements end when the test says so. */
function slowDatabase() {
  const statements: { names: string[]; end(): void }[] = []
  const reserve: Reserve = (questions) =>
    new Promise((resolve) => {
      statements.push({
        names: questions.map(({ requestId }) => requestId),
        end: () => resolve(questions.map(() => granted)),
      })
    })
  return { statements, reserve }
}

const deskOf = (reserve: Reserve, now?: () => number) =>
  createReserveDesk({
    log: quiet,
    reserve,
    recall: () => {},
    ...(now === undefined ? {} : { now }),
  })
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('questions that come while a statement is on its way go together in the next one', async () => {
  const { statements, reserve } = slowDatabase()
  const desk = deskOf(reserve)
  const replies = ['a', 'b', 'c'].map((name) => desk.ask(question(name)))
  assert.deepEqual(
    statements.map(({ names }) => names),
    [['a']],
  )
  statements[0]?.end()
  await settled()
  assert.deepEqual(statements[1]?.names, ['b', 'c'])
  statements[1]?.end()
  assert.deepEqual(await Promise.all(replies), [granted, granted, granted])
})

test('what waits is bounded, and the rest is told to come again', async () => {
  const { statements, reserve } = slowDatabase()
  const desk = deskOf(reserve)
  const replies = Array.from({ length: 1_001 }, (_, i) => desk.ask(question(`req-${i}`)))
  await assert.rejects(desk.ask(question('one too many')), (error: PenstockError) => {
    assert.equal(error.code, 'service_unavailable')
    assert.equal(error.info.retryAfterMs, 500)
    return true
  })
  for (let i = 0; i < 5; i++) {
    statements[i]?.end()
    await settled()
  }
  assert.equal((await Promise.all(replies)).length, 1_001)
  assert.ok(statements.every(({ names }) => names.length <= 250))
})

test('nothing is reserved for whoever has given up, or whose deadline has passed', async () => {
  const { statements, reserve } = slowDatabase()
  let now = 1_000
  const desk = deskOf(reserve, () => now)
  const first = desk.ask(question('first'))
  const late = assert.rejects(desk.ask(question('late')), { code: 'service_unavailable' })
  const past = assert.rejects(desk.ask(question('past', 2_000)), { code: 'deadline_exceeded' })
  now = 3_500
  statements[0]?.end()
  await Promise.all([first, late, past])
  await settled()
  assert.equal(statements.length, 1)
})

test('a question that the database cannot take does not spoil its neighbours', async () => {
  const reserve: Reserve = (questions) => {
    const spoilt = questions.some(({ requestId }) => requestId === 'odd')
    if (spoilt) return Promise.reject(Object.assign(new Error('odd'), { code: '22003' }))
    return Promise.resolve(questions.map(() => granted))
  }
  const desk = deskOf(reserve)
  const replies = ['first', 'good', 'odd', 'fine'].map((name) => desk.ask(question(name)))
  const outcomes = await Promise.allSettled(replies)
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  )
  await assert.rejects(replies[2] ?? Promise.resolve(), { code: 'invalid_request' })
})

test('a database that is away, and a service that closes, are said to be unavailable', async () => {
  const away: Reserve = () =>
    Promise.reject(Object.assign(new Error('secret host'), { code: 'ECONNREFUSED' }))
  const desk = deskOf(away)
  await assert.rejects(desk.ask(question('a')), {
    code: 'service_unavailable',
    message: 'Budgets cannot be checked: database: connection refused.',
  })
  const { statements, reserve } = slowDatabase()
  const closing = deskOf(reserve)
  const underWay = closing.ask(question('under way'))
  const waits = assert.rejects(closing.ask(question('waits')), { code: 'service_unavailable' })
  closing.close()
  await waits
  statements[0]?.end()
  assert.deepEqual(await underWay, granted)
})

const key = { kind: 'key' as const, owner: 'k', model: '' }
const standing = {
  ...key,
  ...{ spent: '1', reserved: '8', limit: '9', resetsAt: null },
  ...{ tokensSpent: 0, tokensReserved: 0, tokensLimit: null },
}
const refused = (lent: boolean): ReserveReply => {
  return { granted: false, exceeded: 'money', by: standing, lent }
}

test('nobody is refused before what gateways hold of the account was called back', async () => {
  const replies = [refused(true), refused(true), granted]
  const recalled: unknown[] = []
  const desk = createReserveDesk({
    log: quiet,
    reserve: async (questions) => questions.map(() => replies[recalled.length] ?? granted),
    recall: (account) => recalled.push(account),
  })
  assert.deepEqual(await desk.ask(question('a')), granted)
  assert.deepEqual(recalled, [key, key])
})

test('an account is called back for half a second at most, and then counts as it is for a while', async () => {
  let now = 0
  let recalls = 0
  const desk = createReserveDesk({
    log: quiet,
    reserve: async (questions) => questions.map(() => refused(true)),
    recall: () => {
      recalls += 1
      now += 200
    },
    now: () => now,
  })
  const ask = (names: string[]) => Promise.all(names.map((name) => desk.ask(question(name))))
  assert.deepEqual(await ask(['a', 'b', 'c']), [refused(true), refused(true), refused(true)])
  // The first one is on its way alone, the others go together.
  assert.ok(recalls >= 3 && recalls <= 6, String(recalls))
  const before = recalls
  now += 1_000
  await ask(['d', 'e'])
  assert.equal(recalls, before)
  now += 1_001
  await ask(['f'])
  assert.ok(recalls > before)
})

test('whoever waits for a gateway that is gone does not keep those waiting who do not', async () => {
  const begun = performance.now()
  const others: Promise<number>[] = []
  let isRecalled = false
  const desk = createReserveDesk({
    log: quiet,
    reserve: async (questions) => {
      // The next pause of those that are asked now is a long one, and some go together with these.
      const isLate = performance.now() - begun > 290
      const [first, second] = questions
      const isAlone = first?.requestId !== 'other' && second === undefined
      if (isLate && isAlone && others.length < 8) others.push(askOther())
      return questions.map(({ requestId }) => {
        if (requestId !== 'other') return refused(true)
        return isRecalled ? granted : { ...refused(true), by: { ...standing, owner: 'other' } }
      })
    },
    recall: ({ owner }) => {
      if (owner === 'other') isRecalled = true
    },
  })
  async function askOther(): Promise<number> {
    isRecalled = false
    const askedAt = performance.now()
    await desk.ask(question('other'))
    return performance.now() - askedAt
  }
  const names = Array.from({ length: 12 }, (_, i) => `r${i}`)
  await Promise.all(names.map((name) => desk.ask(question(name))))
  const took = await Promise.all(others)
  assert.ok(took.length > 1)
  assert.ok(Math.max(...took) < 150, String(took))
})

test('it is called back again before gateways that gave back wish for it anew', async () => {
  const recalledAt: number[] = []
  const desk = createReserveDesk({
    log: quiet,
    reserve: async (questions) => questions.map(() => refused(true)),
    recall: () => recalledAt.push(performance.now()),
  })
  await desk.ask(question('first'))
  const before = recalledAt.length
  for (let i = 0; recalledAt.length === before && i < 300; i++) {
    void desk.ask(question(`r${i}`))
    await sleep(10)
  }
  const [last = 0, next = Number.POSITIVE_INFINITY] = recalledAt.slice(before - 1)
  assert.ok(next - last < 2_000, String(next - last))
})

test('an answer that nobody can read is no answer, to that question alone', async () => {
  const desk = deskOf(async (questions) =>
    questions.map(({ requestId }) => (requestId === 'odd' ? undefined : granted)),
  )
  const outcomes = await Promise.allSettled(
    ['a', 'odd', 'b'].map((name) => desk.ask(question(name))),
  )
  const isGranted = outcomes.map(({ status }) => status === 'fulfilled')
  assert.deepEqual(isGranted, [true, false, true])
})

test('whoever waits for a recall is told when the service closes', async () => {
  const desk = createReserveDesk({
    log: quiet,
    reserve: async (questions) => questions.map(() => refused(true)),
    recall: () => desk.close(),
  })
  await assert.rejects(desk.ask(question('a')), { code: 'service_unavailable' })
})

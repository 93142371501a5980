import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
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

describe('what is not given back', () => {
  let now: number
  let recalledAt: number[]
  const pauses: { ms: number; end(): void }[] = []
  let desk: ReturnType<typeof createReserveDesk>
  const unavailable = { code: 'service_unavailable' }

  beforeEach(() => {
    now = 0
    recalledAt = []
    desk = createReserveDesk({
      log: quiet,
      reserve: async (questions) => questions.map(() => refused(true)),
      recall: () => recalledAt.push(now),
      now: () => now,
      pause: async (ms) => {
        now += ms
      },
    })
  })

  test('in time is no reason to refuse: nobody knows yet', async () => {
    await assert.rejects(desk.ask(question('a')), unavailable)
    assert.ok(now > 1_000 && now < 2_000, String(now))
    assert.ok(recalledAt.length > 5)
  })

  test('is not waited for by those who come next, but before gateways that did give back wish again', async () => {
    await assert.rejects(desk.ask(question('first')), unavailable)
    const last = recalledAt.at(-1) ?? assert.fail()
    const recalls = recalledAt.length
    await assert.rejects(desk.ask(question('second')), unavailable)
    assert.equal(recalledAt.length, recalls)
    now = last + 1_999
    await assert.rejects(desk.ask(question('third')), unavailable)
    assert.equal(recalledAt[recalls], last + 1_999)
  })

  test('keeps nobody waiting who was only asked together with those who wait', async () => {
    const gate = Promise.withResolvers<void>()
    const asked: string[][] = []
    desk = createReserveDesk({
      log: quiet,
      reserve: async (questions) => {
        const names = questions.map(({ requestId }) => requestId)
        asked.push(names)
        if (names.includes('slow')) await gate.promise
        return questions.map(() => (names.includes('slow') ? granted : refused(true)))
      },
      recall: () => {},
      pause: (ms) => new Promise((resolve) => void pauses.push({ ms, end: () => resolve(null) })),
    })
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    void desk.ask(question('old'))
    for (let i = 0; i < 3; i++) {
      await turn()
      if (i < 2) pauses.at(-1)?.end()
    }
    void desk.ask(question('slow'))
    await turn()
    pauses.at(-1)?.end()
    void desk.ask(question('new'))
    await turn()
    gate.resolve()
    await turn()
    assert.deepEqual(asked.at(-1)?.sort(), ['new', 'old'])
    assert.deepEqual(
      pauses
        .slice(-2)
        .map(({ ms }) => ms)
        .sort(),
      [10, 80],
    )
  })
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

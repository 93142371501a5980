import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import type {
  AccountRef,
  AllowanceReply,
  ReserveQuestion,
  Standing,
} from '@penstock/shared/contracts/budget'
import {
  type AllowanceBook,
  createAllowanceBook,
  type Message,
  type Taken,
} from './allowance-book.ts'

const key: AccountRef = { kind: 'key', owner: 'k', model: '' }
const team: AccountRef = { kind: 'team', owner: 't', model: '' }

let time: number
let book: AllowanceBook
let count = 0

beforeEach(() => {
  time = 10_000
  book = createAllowanceBook(() => time)
})

function question(changes: Partial<ReserveQuestion> = {}): ReserveQuestion {
  const requestId = `r${count++}`
  return { requestId, accounts: [key], amount: '10', tokens: 2, expiresAt: 1, ...changes }
}

function standing(ref: AccountRef, changes: Partial<Standing> = {}): Standing {
  const money = { spent: '0', reserved: '0', limit: null }
  const tokens = { tokensSpent: 0, tokensReserved: 0, tokensLimit: null }
  return { ...ref, ...money, ...tokens, resetsAt: null, ...changes }
}

/** Billing answers: this is what the gateway may grant of the key now. */
function hear(message: Message, amount: number, tokens = 1_000, changes: Partial<Standing> = {}) {
  const allowance = { amount: String(amount), tokens }
  hearOf(message, { ...standing(key, changes), allowance })
}

function hearOf(message: Message, ...accounts: AllowanceReply['accounts']): void {
  book.heard(message, { ended: false, accounts }, time)
}

function next(): Message {
  const message = book.next()
  assert.ok(message !== null)
  return message
}

/** Two requests in a row, and billing lends. */
function lend(amount = 640, tokens = 128): void {
  book.take(question())
  book.take(question())
  hear(next(), amount, tokens)
  assert.equal(book.next(), null)
}

const wish = { ...key, amount: '10', tokens: 2, requests: 64 }
const back = { ...wish, requests: 0 }

test('one request alone asks for no allowance; the next one in the same minute wishes for many like it', () => {
  assert.equal(book.take(question()), null)
  assert.equal(book.next(), null)
  time += 60_000
  assert.equal(book.take(question()), null)
  assert.equal(book.next(), null)
  time += 59_999
  assert.equal(book.take(question()), null)
  assert.deepEqual(next(), { draws: [], wishes: [wish] })
})

describe('an allowance', () => {
  test('grants exactly what it has, and no more before billing is heard of', () => {
    lend()
    const asked = Array.from({ length: 65 }, () => question())
    const taken = asked.map((one) => book.take(one) !== null)
    assert.deepEqual(taken, [...Array.from({ length: 64 }, () => true), false])
    const message = next()
    assert.deepEqual(message.draws, asked.slice(0, 64))
    assert.deepEqual(message.wishes, [wish])
    hear(message, 20, 4)
    assert.ok(book.take(question()))
    const onItsWay = next()
    assert.ok(book.take(question()))
    assert.equal(book.take(question()), null)
    // What it was told of is out of the allowance by now, and what came meanwhile is not.
    hear(onItsWay, 10, 2)
    assert.equal(book.take(question()), null)
  })

  test('of tokens runs out, too', () => {
    lend(1_000, 5)
    assert.ok(book.take(question()))
    assert.ok(book.take(question()))
    assert.equal(book.take(question()), null)
  })

  test('is not touched where another account of the request has none', () => {
    lend()
    assert.equal(book.take(question({ accounts: [key, team] })), null)
    assert.equal(book.next(), null)
    for (let i = 0; i < 64; i++) assert.ok(book.take(question()), String(i))
    assert.equal(book.take(question()), null)
  })

  test('is wished for again when half of it is gone', () => {
    lend()
    for (let i = 0; i < 32; i++) book.take(question())
    assert.deepEqual(next().wishes, [])
    book.take(question())
    assert.deepEqual(next().wishes, [wish])
  })

  test('that an account could not lend whole is wished for again when half of that is gone', () => {
    lend(40, 8)
    for (let i = 0; i < 2; i++) assert.ok(book.take(question()))
    assert.deepEqual(next().wishes, [])
    assert.ok(book.take(question()))
    assert.deepEqual(next().wishes, [wish])
  })

  test('that is too small for a request is wished for by the size of that one', () => {
    lend()
    assert.equal(book.take(question({ amount: '1000' })), null)
    assert.deepEqual(next().wishes, [{ ...wish, amount: '1000' }])
  })

  test('says how the accounts stood when billing was last heard of', () => {
    lend()
    const taken = book.take(question())
    assert.deepEqual(taken?.accounts(), [standing(key)])
    hear(next(), 630, 126, { spent: '7' })
    assert.deepEqual(taken?.accounts(), [standing(key, { spent: '7' })])
  })

  test('is not used when billing was not heard of for ten seconds', () => {
    lend()
    time += 9_999
    assert.ok(book.take(question()))
    time += 1
    assert.equal(book.take(question()), null)
    hear(next(), 630)
    assert.ok(book.take(question()))
  })

  test('is kept by saying that the gateway is there, when there is nothing else to say', () => {
    lend()
    time += 2_999
    book.tidy()
    assert.equal(book.hasNews, false)
    time += 1
    book.tidy()
    assert.equal(book.hasNews, true)
    const ping = next()
    assert.deepEqual(ping, { draws: [], wishes: [] })
    hearOf(ping)
    assert.equal(book.hasNews, false)
    time += 9_999
    assert.ok(book.take(question()))
  })

  test('goes back when nobody asked for a minute, and is forgotten then', () => {
    lend()
    time += 59_999
    book.tidy()
    assert.deepEqual(next(), { draws: [], wishes: [] })
    time += 1
    book.tidy()
    const message = next()
    assert.deepEqual(message.wishes, [back])
    hear(message, 0, 0)
    time += 60_000
    book.tidy()
    assert.equal(book.hasNews, false)
  })

  test('that an account does not lend is not wished for again at once', () => {
    lend(0, 0)
    book.take(question())
    assert.equal(book.next(), null)
    time += 250
    book.take(question())
    assert.equal(next().wishes.length, 1)
  })

  test('is wished for at once under another name when billing took a quiet gateway for dead', () => {
    for (let i = 0; i < 2; i++) book.take(question())
    assert.deepEqual(next().wishes, [wish])
    book.ended()
    assert.deepEqual(next().wishes, [wish])
  })

  test('is not there any more when billing took this gateway for dead; what was granted is told', () => {
    lend()
    const granted = question()
    assert.ok(book.take(granted))
    next()
    book.ended()
    assert.equal(book.take(question()), null)
    const anew = next()
    assert.deepEqual(anew, { draws: [granted], wishes: [wish] })
    hear(anew, 640, 128)
    for (let i = 0; i < 64; i++) assert.ok(book.take(question()), String(i))
    assert.equal(book.take(question()), null)
  })
})

describe('news are urgent', () => {
  test('when an allowance has to grow or to go back, and not when a grant has to be told', () => {
    book.take(question())
    assert.equal(book.isUrgent, false)
    book.take(question())
    assert.equal(book.isUrgent, true)
    hear(next(), 640, 128)
    book.take(question())
    assert.deepEqual([book.hasNews, book.isUrgent], [true, false])
    book.recall(key)
    assert.equal(book.isUrgent, true)
  })

  test('when nobody knows how an account stands by now that a request was granted of', () => {
    lend()
    time += 101
    book.take(question())
    assert.equal(book.isUrgent, true)
    next()
    assert.equal(book.isUrgent, false)
  })
})

describe('what is called back', () => {
  test('goes with all that was granted, and nothing is granted meanwhile', () => {
    lend()
    book.take(question())
    book.recall(key)
    assert.equal(book.take(question()), null)
    const message = next()
    assert.deepEqual([message.draws.length, message.wishes], [1, [back]])
    hear(message, 0, 0)
    assert.equal(book.next(), null)
    time += 1_999
    // It would only be called back again.
    book.take(question())
    assert.equal(book.next(), null)
  })

  test('while a wish is on its way goes back with the next message', () => {
    lend()
    for (let i = 0; i < 33; i++) book.take(question())
    const wishing = next()
    assert.deepEqual(wishing.wishes, [wish])
    book.recall(key)
    hear(wishing, 640, 128)
    assert.equal(book.take(question()), null)
    assert.deepEqual(next(), { draws: [], wishes: [back] })
  })

  test('waits for the message that tells of all that was granted', () => {
    lend(10_000, 2_000)
    for (let i = 0; i < 251; i++) assert.ok(book.take(question()))
    book.recall(key)
    const first = next()
    assert.deepEqual([first.draws.length, first.wishes], [250, []])
    hear(first, 7_500, 1_500)
    assert.deepEqual([next().draws.length, next().wishes], [1, [back]])
  })

  test('does not wait for what is still to be told of other accounts', () => {
    lend()
    for (let i = 0; i < 2; i++) book.take(question({ accounts: [team] }))
    const allowance = { amount: '10000', tokens: 2_000 }
    hearOf(next(), { ...standing(team), allowance })
    for (let i = 0; i < 251; i++) assert.ok(book.take(question({ accounts: [team] })))
    book.recall(key)
    assert.ok(next().wishes.some(({ owner, requests }) => owner === 'k' && requests === 0))
  })

  test('goes before what goes back because nobody asks for it', () => {
    for (let i = 0; i < 300; i++) {
      const account = { ...key, owner: `k${i}` }
      for (let n = 0; n < 2; n++) book.take(question({ accounts: [account] }))
    }
    for (let message = book.next(); message !== null; message = book.next()) {
      const allowance = { amount: '640', tokens: 128 }
      hearOf(message, ...message.wishes.map((one) => ({ ...standing(one), allowance })))
    }
    time += 60_000
    book.tidy()
    book.recall({ ...key, owner: 'k299' })
    const { wishes } = next()
    assert.deepEqual([wishes.length, wishes[0]?.owner], [250, 'k299'])
  })

  test('is nothing where nothing is held', () => {
    book.recall(key)
    book.take(question())
    book.recall(key)
    assert.equal(book.next(), null)
  })

  test('is what an account has lent that holds more than its limit now', () => {
    lend()
    book.take(question())
    hear(next(), 150, 30, { spent: '90', reserved: '20', limit: '100' })
    assert.equal(book.take(question()), null)
    assert.deepEqual(next().wishes, [back])
  })
})

test('whoever waits for billing to know of a request is told, whatever becomes of it', async () => {
  lend()
  const [first, second] = [question(), question()]
  book.take(first)
  assert.equal(book.told('somebody else'), null)
  const told = book.told(first.requestId)
  assert.ok(told !== null)
  hear(next(), 150)
  await told
  assert.equal(book.told(first.requestId), null)
  book.take(second)
  const dropped = book.told(second.requestId)
  book.drop(next())
  await dropped
})

test('a message that billing will never take is forgotten, with all that it may have lent', () => {
  lend()
  const asked = question()
  book.take(asked)
  book.drop(next())
  assert.equal(book.next(), null)
  assert.equal(book.take(question()), null)
})

test('what is told again is owed as long, whatever billing had heard of it', () => {
  lend()
  const asked = question()
  book.take(asked)
  assert.deepEqual(next().draws, [asked])
  book.take(question())
  const again = next()
  assert.equal(again.draws.length, 2)
  hear(again, 20, 4)
  assert.ok(book.take(question()))
  assert.ok(book.take(question()))
  assert.equal(book.take(question()), null)
})

describe('what a key has spent', () => {
  const spentOf = (taken: Taken | null) => taken?.accounts()[0]?.spent

  test('is what billing said last, and what was spent here since it was asked', () => {
    lend()
    const first = book.take(question())
    assert.equal(spentOf(first), '0')
    first?.spent(7n)
    const asking = next()
    const second = book.take(question())
    second?.spent(5n)
    assert.equal(spentOf(second), '12')
    // The seven are counted by now; the five were spent while billing was being asked.
    hear(asking, 150, 100, { spent: '7' })
    assert.equal(spentOf(second), '12')
    hear(next(), 140, 100, { spent: '13' })
    assert.equal(spentOf(book.take(question())), '13')
  })

  test('is what billing says when that stays less for minutes: it was corrected, or cost less', () => {
    lend()
    let taken = book.take(question())
    hear(next(), 640, 128, { spent: '100' })
    for (let i = 1; i <= 14; i++) {
      time += 9_000
      taken = book.take(question())
      taken?.spent(1n)
      // Eighty were given back.
      hear(next(), 640, 128, { spent: String(20 + i) })
      if (i <= 6) assert.equal(spentOf(taken), String(100 + i))
    }
    time += 9_000
    taken = book.take(question())
    hear(next(), 640, 128, { spent: '34' })
    assert.equal(spentOf(taken), '34')
  })

  test('never goes back within a period, however far behind billing is', () => {
    lend()
    const taken = book.take(question())
    taken?.spent(7n)
    hear(next(), 150, 100, { spent: '2' })
    assert.equal(spentOf(taken), '7')
    taken?.spent(1n)
    assert.equal(spentOf(taken), '8')
    book.take(question())
    hear(next(), 140, 100, { spent: '8' })
    assert.equal(spentOf(taken), '8')
    book.take(question())
    hear(next(), 130, 100, { spent: '1', resetsAt: 99 })
    assert.equal(spentOf(taken), '1')
  })
})

test('no message, nor its answer, is larger than NATS takes, however many accounts pay', () => {
  const accounts = Array.from({ length: 8 }, (_, i) => ({
    kind: 'member' as const,
    owner: `${'團'.repeat(256)}/${'用'.repeat(256)}`,
    model: `${i}${'模'.repeat(255)}`,
  }))
  for (let i = 0; i < 2; i++) book.take(question({ accounts }))
  const allowance = { amount: '10000', tokens: 2_000 }
  hearOf(next(), ...accounts.map((one) => ({ ...standing(one), allowance })))
  const asked = Array.from({ length: 250 }, () => question({ accounts }))
  for (const one of asked) assert.ok(book.take(one))
  const told: string[] = []
  for (let message = book.next(); message !== null; message = book.next()) {
    assert.ok(Buffer.byteLength(JSON.stringify(message)) < 800_000)
    assert.ok(message.draws.length > 0)
    told.push(...message.draws.map(({ requestId }) => requestId))
    hearOf(message)
  }
  assert.deepEqual(
    told,
    asked.map(({ requestId }) => requestId),
  )
})

test('billing is told of a thousand requests at most; the next asks as if there were no allowance', () => {
  lend(1_000_000, 1_000_000)
  for (let i = 0; i < 1_000; i++) assert.ok(book.take(question()))
  assert.equal(book.take(question()), null)
  hear(next(), 900_000, 900_000)
  assert.ok(book.take(question()))
})

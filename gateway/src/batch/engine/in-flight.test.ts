import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createInFlight, createRoom, limitFor } from './in-flight.ts'

const never = new AbortController().signal

test('who waits is let in in order, as soon as there is room', async () => {
  const room = createRoom(() => 2)
  const order: number[] = []
  const enter = (id: number) =>
    room.enter(1, never).then((leave) => {
      order.push(id)
      return leave
    })
  const [first, second] = await Promise.all([enter(1), enter(2)])
  const third = enter(3)
  const fourth = enter(4)
  first?.()
  first?.()
  await third
  assert.deepEqual(order, [1, 2, 3])
  second?.()
  await fourth
  assert.deepEqual(order, [1, 2, 3, 4])
  assert.equal(room.used, 2)
})

test('what is larger than the room gets in alone, and one that gives up keeps nobody waiting', async () => {
  const room = createRoom(() => 10)
  const large = await room.enter(50, never)
  const impatient = new AbortController()
  const given = room.enter(5, impatient.signal)
  const next = room.enter(5, never)
  impatient.abort()
  assert.equal(await given, null)
  large?.()
  assert.notEqual(await next, null)
  assert.equal(room.used, 5)
})

test('each model group has its slots and a few lines ahead; a fleet that grows lets more in', async () => {
  let slots = 1
  const inFlight = createInFlight(() => slots)
  const enter = () => inFlight.enter('group', never)
  await Promise.all(Array.from({ length: limitFor(1) }, enter))
  const next = enter()
  assert.notEqual(await inFlight.enter('another', never), null)
  assert.equal(inFlight.lines, limitFor(1) + 1)
  slots = 2
  inFlight.pump()
  assert.notEqual(await next, null)
})

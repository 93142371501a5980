import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Msg } from '@nats-io/transport-node'
import { z } from 'zod'
import type { Bus } from './connect.ts'
import { answer } from './request-reply.ts'

test('an answer that comes when the connection is closed harms nobody', async (t) => {
  let callback = (_error: null, _msg: Pick<Msg, 'data' | 'respond'>) => {}
  const subscribe = (_subject: string, options: { callback: typeof callback }) => {
    callback = options.callback
    return { unsubscribe() {} }
  }
  const bus = { nc: { subscribe } } as unknown as Bus
  const unhandled: unknown[] = []
  const note = (cause: unknown) => unhandled.push(cause)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  answer(bus, { schema: z.object({}), reply: z.object({}) }, 'subject', () => ({}))
  let tries = 0
  callback(null, {
    data: Buffer.from('{}'),
    respond() {
      tries += 1
      throw new Error('closed connection')
    },
  })
  await nextTurn()
  assert.deepEqual([tries > 0, unhandled], [true, []])
})

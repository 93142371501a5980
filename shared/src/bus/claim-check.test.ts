import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Objm } from '@nats-io/obj'
import { openClaimCheck } from './claim-check.ts'
import type { Bus } from './connect.ts'

test('a store that could not be made anew at once is made for the next one who needs it', async () => {
  let lose = () => {}
  const onStoreLost = (listener: () => void) => {
    lose = listener
  }
  const bus = { js: { nc: {} }, nc: {}, onStoreLost } as unknown as Bus
  const away: (() => Promise<never>)[] = []
  const store = { putBlob: async () => {}, get: async () => null, delete: async () => {} }
  const create = mock.method(
    Objm.prototype,
    'create',
    () => away.shift()?.() ?? Promise.resolve(store),
  )
  try {
    const claims = await openClaimCheck(bus)
    lose()
    const refuse = () => Promise.reject(new Error('no leader'))
    away.push(refuse)
    await assert.rejects(claims.put('c', Buffer.from('x')), { code: 'service_unavailable' })
    await claims.put('c', Buffer.from('x'))
    lose()
    away.push(refuse)
    await claims.remove('c')
    lose()
    away.push(refuse)
    await assert.rejects(claims.get('c'), { code: 'service_unavailable' })
  } finally {
    create.mock.restore()
  }
})

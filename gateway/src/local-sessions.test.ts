import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Kvm } from '@nats-io/kv'
import type { Bus } from '@penstock/shared/bus/connect'
import { openLocalSessions } from './local-sessions.ts'

const bus = { js: { nc: {} }, onStoreLost() {} } as unknown as Bus

async function openOn(kv: object) {
  const create = mock.method(Kvm.prototype, 'create', () => Promise.resolve(kv))
  try {
    return await openLocalSessions(bus)
  } finally {
    create.mock.restore()
  }
}

test('a session stays local once it was marked', async () => {
  const marks = new Map<string, string>()
  const sessions = await openOn({
    put: async (key: string, value: string) => marks.set(key, value),
    get: async (key: string) => marks.get(key) ?? null,
  })
  assert.equal(await sessions.hold('s', false), false)
  assert.equal(await sessions.hold('s', true), true)
  assert.equal(await sessions.hold('s', false), true)
  assert.equal([...marks.keys()].join().includes('s,'), false)
})

test('a store that is away lets nothing out', async () => {
  const away = () => Promise.reject(new Error('away'))
  const sessions = await openOn({ put: away, get: away })
  assert.equal(await sessions.hold('s', false), true)
  await assert.rejects(sessions.hold('s', true), { code: 'service_unavailable' })
})

test('a bucket that could not be made anew at once is made for the next one who needs it', async () => {
  let lose = () => {}
  const onStoreLost = (listener: () => void) => {
    lose = listener
  }
  let refusals = 0
  const kv = { put: async () => 1, get: async () => null }
  const create = mock.method(Kvm.prototype, 'create', () =>
    refusals-- > 0 ? Promise.reject(new Error('no leader')) : Promise.resolve(kv),
  )
  try {
    const sessions = await openLocalSessions({ ...bus, onStoreLost } as unknown as Bus)
    refusals = 1
    lose()
    assert.equal(await sessions.hold('s', false), true)
    assert.equal(await sessions.hold('s', false), false)
  } finally {
    create.mock.restore()
  }
})

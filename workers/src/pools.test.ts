import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPools } from './pools.ts'
import { testCall } from './providers/provider-test-kit.ts'
import { type ResolvedDeployment, resolveDeployment } from './resolved-deployment.ts'

function target(id: string, slots = 1, timeoutMs: number | null = null): ResolvedDeployment {
  const deployment = { id, maxParallelRequests: slots, timeoutMs }
  return resolveDeployment(testCall({}, { deployment }).deployment, {})
}

/** Pools that note what happens to them; `refuse` names those that NATS will not have. */
function recordedPools() {
  const events: string[] = []
  const refuse = new Set<string>()
  const inUse = new Map<string, ResolvedDeployment>()
  const pools = createPools({
    async start(first) {
      const { id } = first.info
      if (refuse.has(id)) throw new Error(`refused ${id}`)
      events.push(`start ${id}`)
      inUse.set(id, first)
      return {
        get target() {
          return inUse.get(id) ?? first
        },
        async update(changed) {
          inUse.set(id, changed)
        },
        async stop() {
          events.push(`stop ${id}`)
        },
      }
    },
    announce: () => events.push(`announce ${ids()}`),
    farewellMs: 0,
  })
  const ids = () => pools.infos.map(({ id }) => id).join()
  return { pools, events, refuse, inUse }
}

test('what is new starts before it is announced, what is gone is announced no longer before it stops', async () => {
  const { pools, events } = recordedPools()
  await pools.apply([target('a'), target('b')])
  assert.deepEqual(events.splice(0), ['start a', 'start b', 'announce a,b'])
  await pools.apply([target('b'), target('c')])
  await pools.close()
  assert.deepEqual(events.slice(0, 3), ['announce b', 'start c', 'announce b,c'])
  assert.deepEqual(events.slice(3).sort(), ['stop a', 'stop b', 'stop c'])
})

test('changed slots are announced, other settings are only used', async () => {
  const { pools, events, inUse } = recordedPools()
  await pools.apply([target('a', 1)])
  events.length = 0
  await pools.apply([target('a', 3)])
  assert.deepEqual(events.splice(0), ['announce a'])
  assert.equal(pools.infos[0]?.slots, 3)
  await pools.apply([target('a', 3, 7_000)])
  assert.deepEqual(events, [])
  assert.equal(inUse.get('a')?.deployment.timeoutMs, 7_000)
})

test('one that fails keeps none of the others from starting, and is tried again', async () => {
  const { pools, events, refuse } = recordedPools()
  refuse.add('a')
  const both = [target('a'), target('b')]
  await assert.rejects(pools.apply(both), { message: 'refused a' })
  assert.deepEqual(events.splice(0), ['start b', 'announce b'])
  refuse.clear()
  await pools.apply(both)
  assert.deepEqual(events, ['start a', 'announce b,a'])
})

test('of several changes at once the last one counts', async () => {
  const { pools } = recordedPools()
  await Promise.all([
    pools.apply([target('a')]),
    pools.apply([target('b')]),
    pools.apply([target('c')]),
  ])
  assert.deepEqual(
    pools.infos.map(({ id }) => id),
    ['c'],
  )
})

test('a deployment that stands twice has one pool: the first one', async () => {
  const { pools, events } = recordedPools()
  await pools.apply([target('a', 2), target('a', 5)])
  assert.deepEqual(events, ['start a', 'announce a'])
  assert.equal(pools.infos[0]?.slots, 2)
})

test('after the end nothing starts any more', async () => {
  const { pools, events } = recordedPools()
  await pools.close()
  await pools.apply([target('a')])
  assert.deepEqual(events, [])
})

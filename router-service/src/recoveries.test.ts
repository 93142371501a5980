import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type Decision, decide } from './decide.ts'
import { deployment } from './fixtures/deployment.ts'
import { createBreakers } from './health/breaker.ts'
import { createRecoveries } from './recoveries.ts'

test('a fallback that recovers first is noticed, and is where a request would go now', () => {
  const clock = { now: 0 }
  const breakers = createBreakers({ allowedFails: 0, cooldownMs: 5_000 }, () => clock.now)
  const fleet = {
    inGroup: (group: string) => [deployment(group, `d-${group}`)],
    isHealthy: (id: string) => breakers.allows(id),
  }
  const policy = {
    ...{ numRetries: 3, retryPolicy: {}, fallbacks: { m: ['n'] }, contextWindowFallbacks: {} },
    ...{ contentPolicyFallbacks: {}, defaultFallbacks: [], enableTagFiltering: false },
    ...{ enablePreCallChecks: false, localGroups: new Set<string>() },
  }
  const groupOf = (decision: Decision) => (decision.kind === 'queue' ? decision.group : null)
  const ask = () => {
    const question = { group: 'm', waitsIn: 'm', deadline: 600_000, allowedGroups: null }
    const facts = { local: false, tags: [], promptTokens: 1, history: [] }
    return groupOf(decide({ ...question, ...facts }, fleet, policy))
  }
  const isServed = (group: string) => fleet.inGroup(group).some(({ id }) => breakers.allows(id))
  const recoveries = createRecoveries(() => ['m', 'n'], isServed)
  assert.equal(recoveries.look(), true)

  const retryAfterMs = 10 * 60_000
  const limited = new PenstockError('upstream_rate_limited', 'x', { retryAfterMs }).info
  breakers.onFailure('d-m', 'c', limited, null)
  breakers.onFailure('d-n', 'c', new PenstockError('upstream_unreachable', 'x').info, null)
  assert.deepEqual([ask(), recoveries.look()], ['m', false], 'it waits in m: both are open')

  clock.now = 5_000
  assert.deepEqual([ask(), isServed('m')], ['n', false], 'whoever comes now goes to n')
  assert.deepEqual([recoveries.look(), recoveries.look()], [true, false])
})

// Random traffic against the breaker, checked against what it promises rather than how it works.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { createBreakers } from './breaker.ts'

const codes: readonly ErrorCode[] = [
  'upstream_error',
  'upstream_timeout',
  'upstream_unreachable',
  'upstream_rate_limited',
  'upstream_bad_request',
  'interrupted',
]

interface Call {
  id: string
  isProbe: boolean
}

for (let seed = 1; seed <= 20; seed++) {
  test(`never two probes out, never a call while open, always a way back (seed ${seed})`, () => {
    const random = seeded(seed)
    let now = 0
    const breakers = createBreakers({ allowedFails: 2, cooldownMs: 1_000 }, () => now)
    const running: Call[] = []
    let probes = 0

    function endOne(): void {
      const [call] = running.splice(Math.floor(random() * running.length), 1)
      if (call === undefined) return
      const before = breakers.state('d')
      const kind = random()
      if (kind < 0.4) breakers.onSuccess('d', call.id)
      else if (kind < 0.5) breakers.onAbandoned('d', call.id)
      else {
        const code = codes[Math.floor(random() * codes.length)] ?? 'upstream_error'
        const retryAfterMs = random() < 0.5 ? null : Math.floor(random() * 3_000)
        const error = new PenstockError(code, 'x', { retryAfterMs }).info
        breakers.onFailure('d', call.id, error, null)
      }
      if (call.isProbe) probes++
      else if (before !== 'closed') assert.equal(breakers.state('d'), before, 'a stray decided')
    }

    for (let i = 0; i < 5_000; i++) {
      now += Math.floor(random() * 400)
      if (running.length < 8 && breakers.allows('d')) {
        const state = breakers.state('d')
        assert.notEqual(state, 'open')
        const isProbe = state === 'half-open'
        assert.ok(!isProbe || !running.some((call) => call.isProbe), 'a second probe went out')
        running.push({ id: `${i}`, isProbe })
        breakers.onStart('d', `${i}`)
      }
      const recoversAt = breakers.recoversAt('d')
      assert.equal(breakers.allows('d'), recoversAt === null)
      assert.ok(recoversAt === null || recoversAt > now)
      assert.ok(recoversAt === null || recoversAt <= now + 60_000)
      if (random() < 0.5) endOne()
    }
    assert.ok(probes > 10, 'too few probes to have shown anything')

    for (let i = 0; i < 100 && running.length > 0; i++) endOne()
    now += 60_000
    assert.equal(breakers.allows('d'), true)
    breakers.onStart('d', 'last')
    breakers.onSuccess('d', 'last')
    assert.equal(breakers.state('d'), 'closed')
  })
}

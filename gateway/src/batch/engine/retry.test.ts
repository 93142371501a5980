import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import { afterFailure, type Verdict } from './retry.ts'

const policy = { attempts: 3, pauseMs: 100 }

interface Case {
  attempts?: number
  tries?: number
  waitsForBudget?: boolean
  retryAfterMs?: number | null
}

function after(code: ErrorCode, given: Case = {}): Verdict {
  const { attempts = 1, tries = attempts, waitsForBudget = false, retryAfterMs = null } = given
  const error = new PenstockError(code, 'text', { retryAfterMs }).info
  return afterFailure({ error, attempts, tries, waitsForBudget }, policy, () => 1)
}

test('an upstream at fault is asked again with growing pauses, then the line is dead', () => {
  assert.deepEqual(after('upstream_error'), { kind: 'again', pauseMs: 100, counted: true })
  assert.deepEqual(after('upstream_error', { attempts: 2 }), {
    kind: 'again',
    pauseMs: 200,
    counted: true,
  })
  assert.deepEqual(after('upstream_error', { attempts: 3 }), { kind: 'fail', dead: true })
})

test('a request at fault fails at once, and is no dead letter', () => {
  assert.deepEqual(after('upstream_bad_request'), { kind: 'fail', dead: false })
  assert.deepEqual(after('authentication_failed'), { kind: 'fail', dead: false })
})

test('for want of room a line waits as long as its batch has time', () => {
  const waits = { kind: 'again', pauseMs: 30_000, counted: false }
  assert.deepEqual(after('queue_full', { attempts: 1, tries: 40 }), waits)
  const asked = after('rate_limited', { retryAfterMs: 7_000 })
  assert.deepEqual(asked, { kind: 'again', pauseMs: 7_000, counted: false })
})

test('a budget that is spent fails the line or holds the batch; one that is reserved is waited for', () => {
  assert.deepEqual(after('budget_exceeded'), { kind: 'fail', dead: false })
  const waits = after('budget_exceeded', { waitsForBudget: true, retryAfterMs: 3_600_000 })
  assert.deepEqual(waits, { kind: 'hold', ms: 300_000 })
  const reserved = after('budget_exceeded', { retryAfterMs: 1_000 })
  assert.deepEqual(reserved, { kind: 'again', pauseMs: 1_000, counted: false })
})

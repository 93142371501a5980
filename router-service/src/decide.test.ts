import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ErrorCode, PenstockError } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { AttemptRecord } from '@penstock/shared/contracts/request'
import { type Decision, decide, type FleetState, type Policy, type Question } from './decide.ts'
import { deployment } from './fixtures/deployment.ts'

const policy: Policy = {
  numRetries: 2,
  retryPolicy: {},
  fallbacks: {},
  contextWindowFallbacks: {},
  contentPolicyFallbacks: {},
  defaultFallbacks: [],
  enableTagFiltering: false,
  enablePreCallChecks: false,
  localGroups: new Set(),
}

function fleet(members: DeploymentInfo[], unhealthy: string[] = []): FleetState {
  return {
    inGroup: (group) => members.filter((info) => info.group === group),
    isHealthy: (id) => !unhealthy.includes(id),
  }
}

function failed(group: string, deploymentId: string, code: ErrorCode, at = 1_000): AttemptRecord {
  return { group, deploymentId, error: new PenstockError(code, 'x').info, at }
}

function question(history: AttemptRecord[] = [], more: Partial<Question> = {}): Question {
  return {
    group: 'a',
    waitsIn: history.at(-1)?.group ?? 'a',
    deadline: 1_000_000,
    allowedGroups: null,
    local: false,
    tags: [],
    promptTokens: null,
    history,
    ...more,
  }
}

const queuedIn = (decision: Decision) =>
  decision.kind === 'queue' ? decision.group : decision.error.code
const a1 = deployment('a', 'a1')
const a2 = deployment('a', 'a2')
const b1 = deployment('b', 'b1')

describe('a fresh request', () => {
  test('waits in the group it asked for', () => {
    assert.equal(queuedIn(decide(question(), fleet([a1, b1]), policy)), 'a')
  })

  test('waits there for a worker to come, where nothing else can serve it', () => {
    assert.equal(queuedIn(decide(question(), fleet([b1]), policy)), 'a')
  })

  test('goes to a fallback at once when its group has no worker or only cools down', () => {
    const chain = { ...policy, fallbacks: { a: ['gone', 'b'] } }
    assert.equal(queuedIn(decide(question(), fleet([b1]), chain)), 'b')
    assert.equal(queuedIn(decide(question(), fleet([a1, b1], ['a1']), chain)), 'b')
  })

  test('waits for the first to recover when everything cools down', () => {
    const chain = { ...policy, fallbacks: { a: ['b'] } }
    assert.equal(queuedIn(decide(question(), fleet([a1, b1], ['a1', 'b1']), chain)), 'a')
  })

  test('too long for every deployment goes to the context window fallback, or is refused', () => {
    const small = deployment('a', 'a1', { maxInputTokens: 100 })
    const checked = { ...policy, enablePreCallChecks: true }
    const long = question([], { promptTokens: 101 })
    assert.equal(queuedIn(decide(long, fleet([small]), checked)), 'context_window_exceeded')
    const chain = { ...checked, contextWindowFallbacks: { a: ['b'] } }
    assert.equal(queuedIn(decide(long, fleet([small, b1]), chain)), 'b')
    assert.equal(
      queuedIn(decide(question([], { promptTokens: 100 }), fleet([small]), checked)),
      'a',
    )
  })
})

describe('a request whose key may not use every group', () => {
  const chain = {
    ...policy,
    numRetries: 0,
    fallbacks: { a: ['b', 'c'] },
    contextWindowFallbacks: { a: ['b'] },
    enablePreCallChecks: true,
  }
  const c1 = deployment('c', 'c1')
  const only = (...allowedGroups: string[]) => ({ allowedGroups })

  test('falls back to those that it may use', () => {
    assert.equal(queuedIn(decide(question([], only('c')), fleet([b1, c1]), chain)), 'c')
    const history = [failed('a', 'a1', 'upstream_error')]
    const state = fleet([a1, b1, c1])
    assert.equal(queuedIn(decide(question(history, only('c')), state, chain)), 'c')
    assert.equal(queuedIn(decide(question(history, only('b', 'c')), state, chain)), 'b')
  })

  test('rather waits or fails than to be served by another', () => {
    assert.equal(queuedIn(decide(question([], only()), fleet([b1, c1]), chain)), 'a')
    const history = [failed('a', 'a1', 'upstream_error')]
    const state = fleet([a1, b1, c1])
    assert.equal(queuedIn(decide(question(history, only()), state, chain)), 'upstream_error')
    const tooLong = question([], { ...only('c'), promptTokens: 101 })
    const small = deployment('a', 'a1', { maxInputTokens: 100 })
    assert.equal(queuedIn(decide(tooLong, fleet([small, b1]), chain)), 'context_window_exceeded')
  })
})

describe('a failed request', () => {
  test('is tried on a deployment that has not failed it yet', () => {
    const decision = decide(
      question([failed('a', 'a1', 'upstream_error')]),
      fleet([a1, a2]),
      policy,
    )
    assert.deepEqual(decision.kind === 'queue' && decision.requirement.except, ['a1'])
  })

  test('is tried on the only one again after a pause that doubles', () => {
    const once = decide(question([failed('a', 'a1', 'upstream_error')]), fleet([a1]), policy)
    const line = failed('a', 'a1', 'upstream_error')
    const twice = decide(question([line, line]), fleet([a1]), policy)
    const pauses = [once, twice].map((one) => one.kind === 'queue' && one.notBefore)
    assert.deepEqual(pauses, [1_200, 1_400])
  })

  test('honours the Retry-After of the upstream', () => {
    const line = failed('a', 'a1', 'upstream_rate_limited')
    line.error.retryAfterMs = 30_000
    const decision = decide(question([line]), fleet([a1]), policy)
    assert.equal(decision.kind === 'queue' && decision.notBefore, 31_000)
  })

  test('keeps to one budget of retries, fallbacks included', () => {
    const state = fleet([a1, b1, deployment('c', 'c1')])
    const chain = { ...policy, numRetries: 1, fallbacks: { a: ['b', 'c'] } }
    const history: AttemptRecord[] = []
    const visited: string[] = []
    for (;;) {
      const decision = decide(question(history), state, chain)
      if (decision.kind === 'fail') break
      visited.push(decision.group)
      history.push(failed(decision.group, `${decision.group}1`, 'upstream_error'))
    }
    assert.deepEqual(visited, ['a', 'a', 'b', 'c'])
  })

  test('goes to the fallback without a pause when the connection was refused', () => {
    const chain = { ...policy, numRetries: 3, fallbacks: { a: ['b'] } }
    const decision = decide(
      question([failed('a', 'a1', 'upstream_unreachable')]),
      fleet([a1, b1]),
      chain,
    )
    assert.equal(queuedIn(decision), 'b')
  })

  test('is neither retried nor sent to a fallback when the request itself is at fault', () => {
    const chain = { ...policy, fallbacks: { a: ['b'] } }
    const decision = decide(
      question([failed('a', 'a1', 'upstream_bad_request')]),
      fleet([a1, a2, b1]),
      chain,
    )
    assert.equal(queuedIn(decision), 'upstream_bad_request')
  })

  test('goes where its kind of failure is sent, and nowhere else', () => {
    const chain = {
      ...policy,
      fallbacks: { a: ['b'] },
      contextWindowFallbacks: { a: ['long'] },
      contentPolicyFallbacks: { a: ['lax'] },
    }
    const state = fleet([a1, b1, deployment('long', 'l1'), deployment('lax', 'x1')])
    const after = (code: ErrorCode) =>
      queuedIn(decide(question([failed('a', 'a1', code)]), state, chain))
    assert.equal(after('context_window_exceeded'), 'long')
    assert.equal(after('content_policy_violation'), 'lax')
  })

  test('is tried again as often as retry_policy says for its kind', () => {
    const never = { ...policy, retryPolicy: { timeout: 0 } }
    const timeout = question([failed('a', 'a1', 'upstream_timeout')])
    assert.equal(queuedIn(decide(timeout, fleet([a1, a2]), never)), 'upstream_timeout')
    const wanted = { ...policy, numRetries: 0, retryPolicy: { badRequest: 1 } }
    const bad = question([failed('a', 'a1', 'upstream_bad_request')])
    assert.equal(queuedIn(decide(bad, fleet([a1]), wanted)), 'a')
  })

  test('with a rejected key is never tried on the same deployment again', () => {
    const decision = decide(
      question([failed('a', 'a1', 'upstream_auth_failed')]),
      fleet([a1]),
      policy,
    )
    assert.equal(decision.kind === 'fail' && decision.error.status, 401)
  })

  test('that was lost with its worker is tried again without using up its retries', () => {
    const once = { ...policy, numRetries: 0, fallbacks: { a: ['b'] } }
    const lost = failed('a', 'a1', 'interrupted')
    const elsewhere = decide(question([lost]), fleet([a1, a2, b1]), once)
    assert.deepEqual(elsewhere.kind === 'queue' && elsewhere.requirement.except, ['a1'])
    assert.equal(queuedIn(decide(question([lost]), fleet([b1]), once)), 'b')
    assert.equal(queuedIn(decide(question([lost]), fleet([]), once)), 'a')
    const failure = [lost, failed('a', 'a2', 'upstream_error')]
    assert.equal(queuedIn(decide(question(failure), fleet([a1, a2]), once)), 'upstream_error')
  })

  test('that was lost with every worker it met is given up', () => {
    const lost = failed('a', 'a1', 'interrupted')
    const after = (times: number) =>
      queuedIn(decide(question(Array(times).fill(lost)), fleet([a1, a2]), policy))
    assert.equal(after(3), 'a')
    assert.equal(after(4), 'interrupted')
  })

  test('does not begin a pause that would end after its deadline', () => {
    const late = question([failed('a', 'a1', 'upstream_error')], { deadline: 1_100 })
    assert.equal(decide(late, fleet([a1]), policy).kind, 'fail')
  })
})

describe('data that must stay local', () => {
  const cloud = deployment('b', 'b1', { locality: 'cloud' })
  const chain = { ...policy, fallbacks: { a: ['b'] } }

  test('is served by local deployments only, within a mixed group', () => {
    const mixed = [a1, deployment('a', 'a2', { locality: 'cloud' })]
    const decision = decide(question([], { local: true }), fleet(mixed), policy)
    assert.equal(decision.kind === 'queue' && decision.requirement.local, true)
  })

  test('is refused rather than sent to a cloud fallback', () => {
    const local = question([], { local: true })
    assert.equal(queuedIn(decide(local, fleet([cloud]), chain)), 'data_policy')
    const failedLocally = question([failed('a', 'a1', 'upstream_unreachable')], { local: true })
    const once = { ...chain, numRetries: 0 }
    assert.equal(queuedIn(decide(failedLocally, fleet([a1, cloud]), once)), 'data_policy')
  })

  test('is refused when its last local worker was lost, instead of waiting for a retry', () => {
    const lost = question([failed('a', 'a1', 'interrupted')], { local: true })
    assert.equal(queuedIn(decide(lost, fleet([cloud]), chain)), 'data_policy')
    assert.equal(queuedIn(decide(lost, fleet([a1, cloud]), chain)), 'a')
  })

  test('is refused where only cloud deployments of its own group are left', () => {
    const mixed = [a1, deployment('a', 'a2', { locality: 'cloud' })]
    const broken = question([failed('a', 'a1', 'upstream_error')], { local: true })
    const once = { ...policy, numRetries: 0 }
    assert.equal(queuedIn(decide(broken, fleet(mixed), once)), 'data_policy')
    const atFault = question([failed('a', 'a1', 'upstream_bad_request')], { local: true })
    assert.equal(queuedIn(decide(atFault, fleet(mixed), once)), 'upstream_bad_request')
  })

  test('may go to a local fallback', () => {
    const decision = decide(question([], { local: true }), fleet([b1]), chain)
    assert.equal(queuedIn(decision), 'b')
  })

  test('may be demanded by the group', () => {
    const demanding = { ...chain, localGroups: new Set(['a']) }
    assert.equal(queuedIn(decide(question(), fleet([cloud]), demanding)), 'data_policy')
  })
})

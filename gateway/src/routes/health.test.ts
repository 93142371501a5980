import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Request, Response } from 'express'
import type { Gateway } from '../gateway.ts'
import { readiness } from './health.ts'

/** What readiness answers where everything but the given is in order. */
function ask(problems: string[], hears = true): { status: number; body: unknown } {
  const gateway = {
    bus: { connected: true },
    services: { hears, living: () => (hears ? [{ problems: [] }] : []) },
    fleet: { deployments: new Map([['d', {}]]) },
    dispatcher: { problems: () => problems.filter((one) => one.startsWith('nats')) },
    admission: { problems: () => problems.filter((one) => one.startsWith('redis')) },
  }
  const answer = { status: 0, body: {} }
  const res = {
    status(status: number) {
      answer.status = status
      return res
    },
    json(body: object) {
      answer.body = body
    },
  }
  const handler = readiness(gateway as unknown as Gateway)
  handler({} as Request, res as unknown as Response, () => {})
  return answer
}

test('a queue that does not store is named and makes the gateway unready', () => {
  assert.equal(ask([]).status, 200)
  const { status, body } = ask(['nats: the request queue does not store requests'])
  assert.equal(status, 503)
  assert.deepEqual(body, {
    status: 'unhealthy',
    db: 'connected',
    problems: ['nats: the request queue does not store requests'],
  })
})

test('so does a Redis that limits cannot be counted without', () => {
  const { status, body } = ask(['redis: connect ECONNREFUSED'])
  assert.equal(status, 503)
  assert.partialDeepStrictEqual(body, { problems: ['redis: connect ECONNREFUSED'] })
})

test('a NATS that stands still is named, not all those who are not heard because of it', () => {
  const { status, body } = ask([], false)
  assert.equal(status, 503)
  const problems = ['nats: connected, but nothing comes through it']
  assert.partialDeepStrictEqual(body, { problems })
})

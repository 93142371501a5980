import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GroupQueue } from '@penstock/shared/contracts/channels'
import { ranks } from '@penstock/shared/contracts/request'
import express from 'express'
import { createMetrics, depthByClass } from './metrics.ts'

const queue: GroupQueue = {
  group: 'smart',
  depth: 3,
  depthByRank: [{ rank: ranks.default, depth: 3 }],
  oldestWaitMs: 1_500,
  drainPerSecond: 2,
  deployments: [
    { id: 'd1', model: 'm', slots: 4, inUse: 1, breaker: 'open', recoversAt: 1_000_000 },
  ],
}

test('queues, slots, breakers and requests are there for Prometheus to read', async () => {
  const metrics = createMetrics({ groups: () => [queue], close() {} }, () => 7)
  metrics.watchBilling(() => Promise.resolve({ messages: 12, oldestMs: 2_500 }))
  metrics.softBudgetReached('team')
  metrics.answered({ operation: 'chat', group: 'smart', outcome: 'queue_full' }, 0.03)
  const server = express().get('/metrics', metrics.handler).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : null
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  server.closeAllConnections()
  server.close()
  await metrics.close()
  for (const line of [
    'penstock_queue_depth{group="smart",priority="default"} 3',
    'penstock_queue_oldest_wait{group="smart"} 1.5',
    'penstock_queue_drain_rate{group="smart"} 2',
    'penstock_slots_used{group="smart",deployment="d1"} 1',
    'penstock_slots_total{group="smart",deployment="d1"} 4',
    'penstock_breaker_state{group="smart",deployment="d1",state="open"} 1',
    'penstock_breaker_state{group="smart",deployment="d1",state="closed"} 0',
    'penstock_gateway_requests_in_flight 7',
    'penstock_billing_lag_events 12',
    'penstock_billing_lag_seconds 2.5',
    'penstock_budget_soft_reached_total{kind="team"} 1',
  ]) {
    assert.ok(text.includes(`${line}\n`), line)
  }
  assert.match(text, /gen_ai_server_request_duration_count\{.*error_type="queue_full"\} 1\n/)
})

test('a shifted rank counts to the class that it is nearest to', () => {
  const depths = depthByClass([
    { rank: ranks.default - 400, depth: 1 },
    { rank: ranks.default + 400, depth: 2 },
    { rank: ranks.flex, depth: 4 },
  ])
  assert.deepEqual(depths, { priority: 0, default: 3, flex: 4, batch: 0 })
})

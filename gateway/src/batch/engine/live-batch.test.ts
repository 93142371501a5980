import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BatchRow } from '../store/database.ts'
import { createLiveBatch } from './live-batch.ts'

const now = Date.parse('2026-03-01T12:00:00Z')

function rowOf(values: Partial<BatchRow> = {}): BatchRow {
  return {
    batch_id: 'batch_1',
    dialect: 'chat',
    status: 'in_progress',
    endpoint: '/v1/chat/completions',
    input_file_id: 'file-1',
    output_file_id: null,
    error_file_id: null,
    completion_window: '24h',
    output_expires_seconds: null,
    metadata: null,
    errors: null,
    on_budget_exceeded: 'fail',
    not_before: null,
    off_peak: null,
    paused: false,
    correlation_id: 'one',
    traceparent: null,
    key_id: null,
    by_admin: true,
    user_id: null,
    team_id: null,
    total: 100,
    completed: 0,
    failed: 0,
    unasked: 0,
    lines_per_second: null,
    created_at: new Date(now),
    in_progress_at: new Date(now),
    expires_at: new Date(now + 86_400_000),
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    ...values,
  }
}

test('a batch runs in its time and its window, and rests outside of them', () => {
  const phaseOf = (values: Partial<BatchRow>, at = now) => createLiveBatch(rowOf(values), at).phase
  assert.equal(phaseOf({}), 'run')
  assert.equal(phaseOf({ paused: true }), 'rest')
  assert.equal(phaseOf({ not_before: new Date(now + 1) }), 'rest')
  assert.equal(phaseOf({ not_before: new Date(now) }), 'run')
  assert.equal(phaseOf({ off_peak: '13:00-14:00' }), 'rest')
  assert.equal(phaseOf({ off_peak: '11:00-14:00' }), 'run')
  assert.equal(phaseOf({ paused: true }, now + 86_400_000), 'close')
  assert.equal(phaseOf({ status: 'validating' }), 'validate')
  assert.equal(phaseOf({ status: 'cancelling' }), 'close')
  assert.equal(phaseOf({ status: 'completed' }), 'over')
})

test('a rest stops what has not begun, an end what runs as well; a redrive begins anew', () => {
  const batch = createLiveBatch(rowOf({ status: 'validating' }), now)
  batch.update(rowOf(), now)
  const { running, ended } = batch
  batch.update(rowOf({ paused: true }), now)
  assert.deepEqual([running.aborted, ended.aborted], [true, false])
  batch.update(rowOf(), now)
  assert.equal(batch.running.aborted, false)
  assert.equal(batch.ended, ended)
  batch.update(rowOf({ status: 'cancelling' }), now)
  assert.deepEqual([batch.running.aborted, ended.aborted], [true, true])
  batch.update(rowOf(), now)
  assert.deepEqual([batch.running.aborted, batch.ended.aborted], [false, false])
  batch.update(null, now)
  assert.deepEqual([batch.phase, batch.ended.aborted], ['over', true])
})

test('a batch that is held runs when the time is over, or when it is released', () => {
  const batch = createLiveBatch(rowOf(), now)
  const { running } = batch
  batch.hold(now + 1_000)
  assert.deepEqual([batch.phase, running.aborted], ['rest', true])
  batch.update(rowOf(), now + 999)
  assert.equal(batch.phase, 'rest')
  batch.update(rowOf(), now + 1_000)
  assert.equal(batch.phase, 'run')
  batch.hold(now + 5_000)
  batch.release()
  batch.update(rowOf(), now + 1_001)
  assert.equal(batch.phase, 'run')
})

test('the rate is that of the last minute', () => {
  const batch = createLiveBatch(rowOf(), now)
  assert.equal(batch.rate, null)
  for (let second = 1; second <= 120; second++) {
    const completed = second <= 60 ? 0 : (second - 60) * 10
    batch.update(rowOf({ total: 10_000, completed }), now + second * 1_000)
  }
  assert.equal(batch.rate, 10)
})

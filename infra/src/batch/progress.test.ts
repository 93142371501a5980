import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BatchObject } from '@penstock/shared/contracts/batches'
import { aBatch } from './fixtures/batch.ts'
import { duration } from './format.ts'
import { createProgress, progressText } from './progress.ts'
import { endText, exitCodeOfBatch, faultsText } from './report.ts'

const counts = (completed: number, failed: number, total = 1_000) => ({ total, completed, failed })

test('a batch in progress shows its share, its speed and the time left', () => {
  const batch = aBatch({ status: 'in_progress', request_counts: counts(240, 10) })
  assert.equal(
    progressText(batch, 5, 0),
    'batch_1 in_progress  █████░░░░░░░░░░░░░░░ 250/1,000  25%  5.0 lines/s  2 min 30 s left  10 failed',
  )
  assert.doesNotMatch(progressText({ ...batch, paused: true }, 5, 0), /lines\/s|left/)
  assert.match(progressText({ ...batch, estimated_completion_at: 60 }, 5, 30_000), / 30 s left/)
  assert.match(progressText({ ...batch, not_before: 60 }, null, 30_000), /waits until/)
})

test('a terminal has one line that is redrawn; a log has one every few seconds', () => {
  let now = 0
  const show = (isTTY: boolean) => {
    const written: string[] = []
    const output = { isTTY, columns: 40, write: (text: string) => written.push(text) }
    const progress = createProgress(output, () => now)
    for (now = 0; now <= 10_000; now += 1_000) {
      const request_counts = counts(now / 100, 0)
      progress.show(aBatch({ status: 'in_progress', request_counts }))
    }
    return written
  }
  const drawn = show(true)
  assert.equal(drawn.length, 11)
  assert.ok(drawn.every((text) => text.startsWith('\r\u001b[K') && text.length <= 4 + 39))
  const logged = show(false)
  assert.equal(logged.length, 3)
  assert.match(logged.at(-1) ?? '', /100\/1,000 {2}10% {2}10 lines\/s {2}1 min 30 s left\n$/)
})

test('the exit code tells a whole success from a partial one and from a failure', () => {
  const codes: [Partial<BatchObject>, number][] = [
    [{ status: 'completed', request_counts: counts(1_000, 0) }, 0],
    [{ status: 'completed', request_counts: counts(999, 1) }, 1],
    [{ status: 'expired' }, 1],
    [{ status: 'failed' }, 2],
    [{ status: 'cancelled' }, 2],
  ]
  for (const [batch, code] of codes) assert.equal(exitCodeOfBatch(aBatch(batch)), code)
})

test('the end of a batch is one sentence, and a failed one names its first faults', () => {
  const request_counts = counts(999, 1)
  const done = aBatch({ status: 'completed', created_at: 0, completed_at: 3_725, request_counts })
  assert.equal(
    endText(done),
    'batch_1 completed: 1,000 lines, 999 answered, 1 failed, in 1 h 2 min.',
  )
  const data = Array.from({ length: 12 }, (_, index) => ({
    code: 'invalid_json_line',
    message: 'Broken.',
    param: null,
    line: index + 1,
  }))
  const faults = faultsText(aBatch({ status: 'failed', errors: { object: 'list', data } }))
  assert.equal(faults.length, 11)
  assert.equal(faults[0], 'Line 1: Broken.')
  assert.equal(faults[10], '… and 2 more faults.')
})

test('durations are in the two units that matter', () => {
  assert.deepEqual([0, 0.2, 59, 60, 3_600, 90_061].map(duration), [
    '0 s',
    '1 s',
    '59 s',
    '1 min',
    '1 h',
    '1 d 1 h',
  ])
})

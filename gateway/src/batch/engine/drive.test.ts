import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { scriptedDatabase } from '../fixtures/scripted-database.ts'
import { createDrive } from './drive.ts'

/** A batch in progress whose window is open from 22 to 6 o'clock, with one open slice. */
const batch = {
  batch_id: 'b',
  status: 'in_progress',
  off_peak: '22:00-06:00 UTC',
  not_before: null,
  paused: false,
  expires_at: new Date('2026-03-02T12:00:00Z'),
  completed: 0,
  failed: 0,
  traceparent: null,
}

test('a window shuts also while the queue of jobs does not answer', async (t) => {
  let now = Date.parse('2026-03-02T05:59:00Z')
  const drive = createDrive({
    db: scriptedDatabase((sql) => (sql.includes('"batch_slice"') ? [{ slice: 0 }] : [batch])),
    // As of a Redis that is away: BullMQ waits for it.
    add: () => new Promise(() => {}),
    window: () => 4,
    log: pino({ level: 'silent' }),
    now: () => now,
  })
  t.after(() => drive.stop())
  const live = await drive.find('b')
  assert.equal(live?.phase, 'run')
  await sleep(100)
  now = Date.parse('2026-03-02T06:00:01Z')
  await sleep(3_500)
  assert.equal(live?.phase, 'rest')
  assert.equal(live?.running.aborted, true)
})

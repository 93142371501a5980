// Writes the results of lines: each at most once, however often its line was run. While one group is
// being written the next one gathers, so that a quick batch costs few statements and a slow one waits
// for nothing. The counts of a batch change in the same statement.
import { setTimeout as sleep } from 'node:timers/promises'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Kysely, sql } from 'kysely'
import { askDatabase, type BatchDatabase } from '../store/database.ts'
import { createRoom } from './in-flight.ts'

export interface LineResult {
  batchId: string
  /** From 1. */
  number: number
  ok: boolean
  /** Its retries were used up; it may be redriven. */
  dead: boolean
  /** 0: it was never asked. */
  attempts: number
  /** As it stands in the output or error file, without line end. */
  text: string
}

export interface ResultWriter {
  /**
   * Resolves when the result is stored, or need not be: the line has one, or its batch is over.
   * @throws PenstockError `service_unavailable` once the writer is closed
   */
  write(result: LineResult): Promise<void>
  /** Resolves when everything is stored, or given up after a while. */
  close(): Promise<void>
}

interface Pending {
  result: LineResult
  stored: () => void
  failed: (cause: unknown) => void
}

const maxGroup = 256
const maxGroupBytes = 4 * 1024 * 1024
/** Answers that wait to be written, in characters; beyond them a line waits with its place taken. */
const maxBacklog = 16 * 1024 * 1024
const pauseMs = 500
const closeLimitMs = 3_000

export function createResultWriter(db: Kysely<BatchDatabase>, log: Logger): ResultWriter {
  const backlog = createRoom(() => maxBacklog)
  const closing = new AbortController()
  let queue: Pending[] = []
  let writing: Promise<void> | null = null

  async function writeAll(): Promise<void> {
    while (queue.length > 0) {
      const group = nextGroup()
      try {
        await untilStored(group.map(({ result }) => result))
        for (const one of group) one.stored()
      } catch (cause) {
        for (const one of group) one.failed(cause)
      }
    }
    writing = null
  }

  function nextGroup(): Pending[] {
    let count = 0
    let bytes = 0
    for (const { result } of queue) {
      bytes += result.text.length
      if (count > 0 && bytes > maxGroupBytes) break
      if (++count === maxGroup) break
    }
    const group = queue.slice(0, count)
    queue = queue.slice(count)
    return group
  }

  /** Again for as long as the database is away. */
  async function untilStored(results: readonly LineResult[]): Promise<void> {
    const giveUpAt = () => (closing.signal.aborted ? 0 : Number.POSITIVE_INFINITY)
    for (;;) {
      try {
        await askDatabase(storeResults(db, results))
        return
      } catch (cause) {
        const isAway = cause instanceof PenstockError && cause.code === 'service_unavailable'
        if (!isAway || Date.now() > giveUpAt()) throw cause
        log.warn({ lines: results.length, err: cause }, 'results of a batch cannot be written yet')
      }
      await sleep(pauseMs, undefined, { signal: closing.signal }).catch(() => {})
    }
  }

  return {
    async write(result) {
      const leave = await backlog.enter(result.text.length, closing.signal)
      if (leave === null) throw new PenstockError('service_unavailable', 'The runner is stopping.')
      try {
        await new Promise<void>((stored, failed) => {
          queue.push({ result, stored, failed })
          writing ??= writeAll()
        })
      } finally {
        leave()
      }
    },
    async close() {
      const limit = sleep(closeLimitMs, undefined, { ref: false })
      await Promise.race([writing, limit])
      closing.abort()
    },
  }
}

/**
 * One statement. The batch's row is locked before anything is written, so that a line that comes late
 * meets either its batch in work, or one whose results were closed, but never half of both.
 */
export async function storeResults(
  db: Kysely<BatchDatabase>,
  results: readonly LineResult[],
): Promise<void> {
  const column = <T>(of: (result: LineResult) => T) => results.map(of)
  const batches = [...new Set(column(({ batchId }) => batchId))].sort()
  await sql`
    with live as materialized (
      select batch_id from batch
      where batch_id = any(${batches}::text[]) and status in ('in_progress', 'cancelling')
      order by batch_id for no key update
    ), written as (
      insert into batch_result (batch_id, line_number, ok, dead, attempts, line)
      select g.* from unnest(
        ${column(({ batchId }) => batchId)}::text[],
        ${column(({ number }) => number)}::integer[],
        ${column(({ ok }) => ok)}::boolean[],
        ${column(({ dead }) => dead)}::boolean[],
        ${column(({ attempts }) => attempts)}::integer[],
        ${column(({ text }) => text)}::text[]
      ) as g (batch_id, line_number, ok, dead, attempts, line)
      join live using (batch_id)
      on conflict do nothing
      returning batch_id, ok
    ), counts as (
      select batch_id, count(*) filter (where ok) as completed, count(*) filter (where not ok) as failed
      from written group by batch_id
    )
    update batch b
    set completed = b.completed + c.completed, failed = b.failed + c.failed
    from counts c where c.batch_id = b.batch_id`.execute(db)
}

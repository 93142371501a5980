// Runs the lines of one slice that have no result yet, as many at once as there is room for. A slice
// that is stopped, by whatever, is simply run again later: what has its result is passed over.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { askDatabase } from '../store/database.ts'
import { createRoom, type Leave } from './in-flight.ts'
import { parseLine, splitLines } from './lines.ts'
import type { LiveBatch } from './live-batch.ts'
import { runLine } from './run-line.ts'
import type { Runner } from './runner.ts'
import { findOpenSlice, finishSlice, type OpenSlice } from './slices.ts'
import { sliceBytes } from './validate.ts'

/**
 * @returns whether the slice is done: every line of it has its result
 * @throws PenstockError `service_unavailable`, `not_found` (the input file)
 */
export async function runSlice(runner: Runner, batchId: string, slice: number): Promise<boolean> {
  for (;;) {
    const batch = await runner.batch(batchId)
    if (batch === null || batch.phase !== 'run') return false
    // Taken before anything is looked at: what changes from here on is seen.
    const { running } = batch
    const open = await askDatabase(findOpenSlice(runner.db, batchId, slice))
    if (open === null) return true
    if (await runOpen(runner, batch, open, running)) {
      if (await askDatabase(finishSlice(runner.db, batchId, slice, open.version))) return true
      continue
    }
    // Stopped, and perhaps resumed while its last lines were under way: then nobody else runs it.
    if (!running.aborted) return false
  }
}

async function runOpen(
  runner: Runner,
  batch: LiveBatch,
  open: OpenSlice,
  running: AbortSignal,
): Promise<boolean> {
  const leave = await enterRoom(runner, open.end - open.start, running)
  if (leave === null) return false
  try {
    const bytes = await readSlice(runner, batch, open)
    return await runLines(runner, batch, running, splitLines(bytes, open.firstLine), open.finished)
  } finally {
    leave()
  }
}

/**
 * Only single long lines take room: of the others the number of jobs bounds what is held, and they are not
 * to wait for lines of a model that nobody serves.
 */
async function enterRoom(
  { inputRoom }: Runner,
  bytes: number,
  running: AbortSignal,
): Promise<Leave | null> {
  return bytes <= sliceBytes ? () => {} : inputRoom.enter(bytes, running)
}

async function readSlice(
  { storage }: Runner,
  { row }: LiveBatch,
  { start, end }: OpenSlice,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of await storage.read(row.input_file_id, { start, end }))
    chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  if (bytes.length === end - start) return bytes
  throw new PenstockError('service_unavailable', 'The input file is shorter than it was.')
}

async function runLines(
  runner: Runner,
  batch: LiveBatch,
  running: AbortSignal,
  lines: Iterable<[number, Buffer]>,
  finished: ReadonlySet<number>,
): Promise<boolean> {
  const under: Promise<boolean>[] = []
  // One line waits for its place at a time: slices, and so batches, then take turns.
  const door = createRoom(() => 1)
  for (const [number, bytes] of lines) {
    if (finished.has(number)) continue
    const value = parseLine(bytes)
    if (value === undefined) continue
    const onEntered = await door.enter(1, running)
    if (onEntered === null) {
      under.push(Promise.resolve(false))
      break
    }
    const line = { runner, batch, running, number, value, onEntered }
    const one = finishLine(line).finally(onEntered)
    // Seen below; until then, while the next line waits for its place, it must not count as unhandled.
    one.catch(() => {})
    under.push(one)
  }
  const ended = await Promise.allSettled(under)
  const broken = ended.find((one) => one.status === 'rejected')
  if (broken !== undefined) throw broken.reason
  return ended.every((one) => one.status === 'fulfilled' && one.value)
}

async function finishLine(line: Parameters<typeof runLine>[0]): Promise<boolean> {
  const { runner } = line
  const result = await runLine(line)
  if (result === null) return false
  await runner.results.write(result)
  runner.counts[result.ok ? 'completed' : 'failed'] += 1
  if (result.dead) runner.counts.dead += 1
  return true
}

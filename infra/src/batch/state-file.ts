// What the last run of a command left: which batch answers its input, so that running it again goes on
// with that batch and never makes a second one. One command at a time may hold such a file.
import { createHash } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { BatchError } from './batch-error.ts'

const runState = z.object({
  version: z.literal(1),
  /** The gateway's. */
  url: z.string(),
  /** What was asked, as a hash: of the input's content, or of the settings. */
  asked: z.string(),
  /** Stands in the batch's metadata: it is found by it where the answer to its creation was lost. */
  token: z.string(),
  /** Epoch milliseconds, before the input was read. */
  started_at: z.int(),
  input_file_id: z.string().nullable(),
  batch_id: z.string().nullable(),
  /** The files whose content is in place; null: none yet. */
  fetched: z.string().nullable(),
})
export type RunState = z.infer<typeof runState>

/** @throws BatchError where the file is there and cannot be read */
export async function readState(path: string): Promise<RunState | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (missing.safeParse(error).success) return null
    throw error
  }
  try {
    return runState.parse(JSON.parse(text))
  } catch (cause) {
    const message = `${path} is not readable: remove it to start anew.`
    throw new BatchError(message, undefined, cause)
  }
}

const missing = z.object({ code: z.literal('ENOENT') })

/** Whole or not at all, whenever the power fails. */
export async function writeState(path: string, state: RunState): Promise<void> {
  const temporary = `${path}.part`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(state, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

export const removeState = (path: string) => rm(path, { force: true })

/**
 * Runs `work` while no other process does the same for this file. The lock is the operating system's:
 * it is gone with its process.
 * @throws BatchError where another one does
 */
export async function holding<T>(path: string, work: () => Promise<T>): Promise<T> {
  const name = createHash('sha256').update(path).digest('hex').slice(0, 32)
  const lock = new DatabaseSync(join(tmpdir(), `penstock-batch-${name}.lock`))
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    if (sqliteError.safeParse(error).data?.errcode !== sqliteBusy) throw error
    throw new BatchError(`Another \`penstock batch\` is at work on the same (${path}).`)
  }
  try {
    return await work()
  } finally {
    lock.close()
  }
}

const sqliteBusy = 5
const sqliteError = z.object({ errcode: z.int() })

// What `run` and `summarize` share: the batch of a state file, submitted if it is not yet, and followed
// to its end.
import { randomUUID } from 'node:crypto'
import type { BatchObject } from '@penstock/shared/contracts/batches'
import type { BatchApi } from './api.ts'
import { ApiError } from './api-error.ts'
import { BatchError, exitCodes, Interrupted } from './batch-error.ts'
import { cancelAndFollow, follow } from './follow.ts'
import { megabytes, several } from './format.ts'
import type { PlanOptions } from './options.ts'
import type { PreparedFile } from './prepared-file.ts'
import type { Progress } from './progress.ts'
import type { RunState } from './state-file.ts'
import { submit } from './submit.ts'

export interface BatchToEnd {
  api: BatchApi
  statePath: string
  state: RunState
  options: PlanOptions
  progress: Progress
  /** Ctrl-C. */
  signal: AbortSignal
  /** Null: the state names a batch. */
  prepared: PreparedFile | null
  filename: string
}

/** @throws BatchError saying how to go on where it was interrupted; ApiError */
export async function batchToEnd(work: BatchToEnd): Promise<BatchObject> {
  const { api, state, options, progress, signal } = work
  try {
    return await follow(api, await knownId(work), progress, signal)
  } catch (error) {
    progress.clear()
    if (!(error instanceof Interrupted)) throw error
    if (state.batch_id === null) {
      throw new BatchError('Interrupted: nothing was submitted.', exitCodes.interrupted)
    }
    if (!options.cancelOnInterrupt) throw leftRunning(state.batch_id)
    progress.say(`Cancelling ${state.batch_id} … (Ctrl-C again leaves it alone)`)
    return cancelAndFollow(api, state.batch_id, progress)
  }
}

async function knownId(work: BatchToEnd): Promise<string> {
  const { state, prepared, progress } = work
  if (state.batch_id !== null || prepared === null) {
    progress.say(`Going on with ${state.batch_id}.`)
    return state.batch_id ?? ''
  }
  const onUpload = () => {
    const { lines, bytes } = prepared
    progress.say(`Uploading ${several(lines, 'line')} (${megabytes(bytes)}) …`)
  }
  const { id } = await submit({ ...work, prepared, onUpload })
  progress.say(`Submitted as ${id}. Ctrl-C leaves it running.`)
  return id
}

function leftRunning(id: string): BatchError {
  const message =
    `${id} goes on without this command. Run the same command again to follow it and to fetch the ` +
    `answers;\n\`penstock batch status ${id}\` shows it, \`penstock batch cancel ${id}\` ends it.`
  return new BatchError(message, exitCodes.interrupted)
}

/** @param startedAt epoch milliseconds, before the input was read */
export function newState(url: string, asked: string, startedAt: number): RunState {
  const fresh = { input_file_id: null, batch_id: null, fetched: null }
  return { version: 1, url, asked, token: randomUUID(), started_at: startedAt, ...fresh }
}

/** The batch that a state file names. @throws BatchError where it is gone */
export async function batchOf(api: BatchApi, id: string, statePath: string): Promise<BatchObject> {
  try {
    return await api.batch(id)
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error
    const message = `${id}, which ${statePath} names, is not there (or not this key's).`
    throw new BatchError(`${message} Start anew with --fresh.`, undefined, error)
  }
}

// Makes the batch of a prepared input exactly once: whatever was cut off at whatever moment, the next
// try finds what was made by the token in its metadata.
import type { BatchObject } from '@penstock/shared/contracts/batches'
import type { BatchApi } from './api.ts'
import { ApiError } from './api-error.ts'
import { BatchError, refuseInterrupted } from './batch-error.ts'
import type { PlanOptions } from './options.ts'
import type { PreparedFile } from './prepared-file.ts'
import { type RunState, writeState } from './state-file.ts'

const tokenName = 'penstock_run'
const pageSize = 100
/** Newer batches looked through for one whose answer was lost. */
const maxPages = 50
const createTries = 3
/** The gateway's clock may differ from ours, in seconds. */
const clockMargin = 86_400

export interface Submission {
  api: BatchApi
  statePath: string
  state: RunState
  prepared: PreparedFile
  /** As the upload is called in lists. */
  filename: string
  options: PlanOptions
  signal: AbortSignal
  onUpload(bytes: number): void
}

/**
 * The state is updated, in the file as well.
 * @throws ApiError, Interrupted (nothing was made then)
 */
export async function submit(submission: Submission): Promise<BatchObject> {
  const { api, statePath, state, prepared, filename, signal } = submission
  const keep = async (batch: BatchObject) => {
    state.batch_id = batch.id
    await writeState(statePath, state)
    return batch
  }
  if (state.input_file_id === null) {
    submission.onUpload(prepared.bytes)
    state.input_file_id = (await api.upload(prepared.path, filename, signal)).id
    await writeState(statePath, state)
  } else {
    const found = await findByToken(api, state)
    if (found !== null) return keep(found)
  }
  refuseInterrupted(signal)
  return keep(await create(submission, state.input_file_id))
}

async function create(
  { api, state, prepared, options }: Submission,
  inputFileId: string,
): Promise<BatchObject> {
  const request = {
    input_file_id: inputFileId,
    endpoint: prepared.endpoint,
    completion_window: options.completionWindow,
    metadata: { [tokenName]: state.token },
    not_before: options.notBefore ?? null,
    window: options.window ?? null,
    on_budget_exceeded: options.onBudgetExceeded,
  }
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.create(request)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      if (error.param === 'input_file_id') {
        const message = `${error.message}\nThe input's upload may be gone: start anew with --fresh.`
        throw new BatchError(message, undefined, error)
      }
      if (!error.isPassing || tries === createTries) throw error
      // It may have been made all the same.
      const found = await findByToken(api, state)
      if (found !== null) return found
    }
  }
}

/** Null: it was never made. */
export async function findByToken(api: BatchApi, state: RunState): Promise<BatchObject | null> {
  let after: string | undefined
  for (let page = 0; page < maxPages; page += 1) {
    const options = after === undefined ? { limit: pageSize } : { limit: pageSize, after }
    const { batches, hasMore } = await api.list(options)
    const found = batches.find(({ metadata }) => metadata?.[tokenName] === state.token)
    if (found !== undefined) return found
    const last = batches.at(-1)
    if (!hasMore || last === undefined) return null
    if (last.created_at < state.started_at / 1_000 - clockMargin) return null
    after = last.id
  }
  return null
}

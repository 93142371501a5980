// Waits for the end of a batch, however long it takes; a gateway that is away for a while is waited for.
import { setTimeout as sleep } from 'node:timers/promises'
import type { BatchObject, BatchStatus } from '@penstock/shared/contracts/batches'
import type { BatchAction, BatchApi } from './api.ts'
import { ApiError } from './api-error.ts'
import { Interrupted } from './batch-error.ts'
import type { Progress } from './progress.ts'

const firstPollMs = 100
const slowestPollMs = 1_000
const pollGrowth = 1.3
/** A gateway that does not come back in this time is not coming back. */
const absenceLimitMs = 600_000

const finalStatuses = new Set<BatchStatus>(['completed', 'failed', 'expired', 'cancelled'])

export function hasEnded({ status }: BatchObject): boolean {
  return finalStatuses.has(status)
}

/**
 * @returns the batch with its final status
 * @throws ApiError (a batch that is not there, a gateway away for ten minutes), Interrupted
 */
export async function follow(
  api: BatchApi,
  id: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<BatchObject> {
  let pollMs = firstPollMs
  for (;;) {
    const batch = await patiently(() => api.batch(id), progress, signal)
    progress.show(batch)
    if (hasEnded(batch)) {
      progress.clear()
      return batch
    }
    await pause(pollMs, signal)
    pollMs = Math.min(slowestPollMs, pollMs * pollGrowth)
  }
}

/** Cancels the batch and waits for that. @throws ApiError */
export async function cancelAndFollow(
  api: BatchApi,
  id: string,
  progress: Progress,
): Promise<BatchObject> {
  const { signal } = new AbortController()
  await patiently(() => actOnce(api, id, 'cancel'), progress, signal)
  return follow(api, id, progress, signal)
}

/** A batch that has ended meanwhile is as good as cancelled. */
async function actOnce(api: BatchApi, id: string, action: BatchAction): Promise<BatchObject> {
  try {
    return await api.act(id, action)
  } catch (error) {
    const batch = error instanceof ApiError && !error.isPassing ? await api.batch(id) : null
    if (batch === null || !hasEnded(batch)) throw error
    return batch
  }
}

/** Tries again while the gateway is away. @throws what it fails with for good, Interrupted */
export async function patiently<T>(
  work: () => Promise<T>,
  progress: Progress,
  signal: AbortSignal,
): Promise<T> {
  let awaySince: number | null = null
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof ApiError) || !error.isPassing) throw error
      if (awaySince === null) progress.say(`${error.message}\nTrying again …`)
      awaySince ??= Date.now()
      if (Date.now() - awaySince > absenceLimitMs) throw error
      await pause(slowestPollMs, signal)
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal })
  } catch {
    throw new Interrupted()
  }
}

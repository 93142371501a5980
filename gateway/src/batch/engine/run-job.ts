// What each kind of job does. A job that is run twice, at once or one after the other, does no harm.

import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { resolveModel } from '../../access/model-access.ts'
import { askDatabase } from '../store/database.ts'
import { callerOf } from './caller.ts'
import type { Drive } from './drive.ts'
import { finalizeBatch } from './finalize.ts'
import { type BatchJob, jobIdOf } from './jobs.ts'
import { runSlice } from './run-slice.ts'
import type { Runner } from './runner.ts'
import { beginBatch, failBatch } from './slices.ts'
import { validateFile } from './validate.ts'

/** Answers that are checked already are not asked again for so many models. */
const maxModels = 1_000

export function createJobRunner(runner: Runner, drive: Drive): (job: BatchJob) => Promise<void> {
  /** A queue that lost its locks hands out a second time what still runs here. */
  const running = new Map<string, Promise<void>>()

  async function run(job: BatchJob): Promise<void> {
    if (job.kind === 'validate') await validate(job.batchId)
    else if (job.kind === 'finalize') await finalizeBatch(runner, job.batchId)
    else await slice(job.batchId, job.slice)
    if (job.kind !== 'slice') await drive.look(job.batchId)
  }

  async function slice(batchId: string, number: number): Promise<void> {
    if (await runSlice(runner, batchId, number)) await drive.sliceDone(batchId)
  }

  async function validate(batchId: string): Promise<void> {
    const batch = await runner.batch(batchId)
    if (batch === null || batch.phase !== 'validate') return
    const { row } = batch
    const { db, storage, log } = runner
    try {
      const found = await validateFile({
        source: await storage.read(row.input_file_id),
        endpoint: row.endpoint,
        checkModel: await modelCheck(runner, batch.row),
      })
      if (found.kind === 'faults') await askDatabase(failBatch(db, batchId, found.faults))
      else await askDatabase(beginBatch(db, batchId, found.slices, found.total))
      const lines =
        found.kind === 'faults' ? { faults: found.faults.length } : { total: found.total }
      log.info({ batchId, ...lines }, 'batch validated')
    } catch (cause) {
      const { code, message, param, status } = toErrorInfo(cause)
      // The creator may not be known any more, or the file is gone: trying again would not help.
      if (!(cause instanceof PenstockError) || status >= 500) throw cause
      await askDatabase(failBatch(db, batchId, [{ code, message, param, line: null }]))
    }
  }

  return (job) => {
    const id = jobIdOf(job)
    const known = running.get(id)
    if (known !== undefined) return known
    const started = run(job).finally(() => running.delete(id))
    running.set(id, started)
    return started
  }
}

async function modelCheck(runner: Runner, row: Parameters<typeof callerOf>[1]) {
  const identity = await callerOf(runner.keys, row)
  const known = new Set<string>()
  return (model: string) => {
    if (known.has(model)) return
    try {
      resolveModel(runner, identity, model)
    } catch (cause) {
      const isUnknown = cause instanceof PenstockError && cause.code === 'model_not_found'
      if (!isUnknown || runner.fleet.deployments.size > 0) throw cause
      // Its worker may be about to start, and the config does not name everything that it serves.
      const message = 'No worker is there to say which models exist.'
      throw new PenstockError('service_unavailable', message, { retryAfterMs: 1_000, cause })
    }
    if (known.size < maxModels) known.add(model)
  }
}

// `penstock batch run FILE`: from a file of lines to a file of answers. Running it again goes on where
// the last run was left, and never submits the same twice.
import { access, rm } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import type { BatchObject } from '@penstock/shared/contracts/batches'
import { type BatchApi, createBatchApi } from './api.ts'
import { BatchError, type BatchExitCode, exitCodes } from './batch-error.ts'
import { batchOf, batchToEnd, newState } from './batch-to-end.ts'
import { download, firstErrors } from './download.ts'
import { hasEnded } from './follow.ts'
import type { RunOptions } from './options.ts'
import { type PreparedFile, prepareFile } from './prepared-file.ts'
import { createProgress, type Terminal } from './progress.ts'
import { endText, exitCodeOfBatch, faultsText } from './report.ts'
import { holding, type RunState, readState, writeState } from './state-file.ts'

const shownErrors = 3

/** @throws BatchError */
export async function runBatch(
  input: string,
  options: RunOptions,
  terminal: Terminal,
): Promise<BatchExitCode> {
  const statePath = `${options.out}.penstock.json`
  return holding(statePath, async () => {
    const { model, endpoint } = options
    const prepared = await prepareFile(input, { model, endpoint })
    try {
      return await runPrepared({ input, prepared, statePath, options, terminal })
    } finally {
      await prepared.remove()
    }
  })
}

interface Run {
  input: string
  prepared: PreparedFile
  statePath: string
  options: RunOptions
  terminal: Terminal
}

async function runPrepared(run: Run): Promise<BatchExitCode> {
  const { prepared, statePath, options, terminal } = run
  const api = createBatchApi(options)
  const progress = createProgress(terminal.stderr)
  const kept = options.fresh ? null : await readState(statePath)
  const state = kept === null ? null : await stillWanted(api, kept, run)
  if (state?.batch_id == null && options.model !== undefined) await api.checkModel(options.model)
  const current = state ?? newState(options.url, prepared.sha256, Date.now())
  if (state === null) await writeState(statePath, current)

  const filename = basename(run.input)
  const shared = { api, statePath, state: current, options, progress, signal: terminal.signal }
  const batch = await batchToEnd({ ...shared, prepared, filename })
  const errorsPath = errorsBeside(options.out)
  const files = `${batch.output_file_id} ${batch.error_file_id}`
  const isThere = current.fetched === files && (await exists(options.out))
  if (batch.status !== 'failed' && !isThere) {
    const { signal } = new AbortController()
    if (batch.error_file_id === null) await rm(errorsPath, { force: true })
    else await download(api, batch.error_file_id, errorsPath, progress, signal)
    await download(api, batch.output_file_id, options.out, progress, signal)
    await writeState(statePath, { ...current, fetched: files })
  }
  terminal.stdout.write(`${await resultText(batch, options.out, errorsPath)}\n`)
  return terminal.signal.aborted ? exitCodes.interrupted : exitCodeOfBatch(batch)
}

/**
 * @returns the state to go on with; null: it is to be submitted anew
 * @throws BatchError where another input's batch would be lost sight of
 */
async function stillWanted(api: BatchApi, kept: RunState, run: Run): Promise<RunState | null> {
  const { options, statePath, prepared } = run
  if (kept.url !== options.url) {
    const message = `The last batch for ${options.out} is at ${kept.url}.`
    throw new BatchError(`${message} Use --url, another --out, or start anew with --fresh.`)
  }
  const isSame = kept.asked === prepared.sha256
  if (kept.batch_id === null) return isSame ? kept : null
  const batch = await batchOf(api, kept.batch_id, statePath)
  // No line of it ran: what was wrong may have been mended since.
  if (batch.status === 'failed') return null
  if (isSame) return kept
  if (hasEnded(batch)) return null
  const message = `${batch.id}, of another input, still runs for ${options.out}.`
  const advice = `Cancel it (\`penstock batch cancel ${batch.id}\`), or choose another --out.`
  throw new BatchError(`${message} ${advice}`)
}

async function resultText(batch: BatchObject, out: string, errorsPath: string): Promise<string> {
  const lines = [endText(batch)]
  if (batch.status === 'failed') return [...lines, ...faultsText(batch)].join('\n')
  lines.push(`Answers: ${out}`)
  if (batch.error_file_id === null) return lines.join('\n')
  lines.push(`Errors: ${errorsPath}`)
  const { failed } = batch.request_counts
  const errors = await firstErrors(errorsPath, shownErrors).catch(() => [])
  lines.push(...errors.map((error) => `  ${error}`))
  if (failed > errors.length && errors.length > 0) lines.push('  …')
  lines.push(`\`penstock batch retry ${batch.id}\` runs again what may go well another time.`)
  return lines.join('\n')
}

/** `answers.jsonl` → `answers.errors.jsonl` */
export function errorsBeside(out: string): string {
  const ending = extname(out)
  return `${ending === '' ? out : out.slice(0, -ending.length)}.errors${ending}`
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

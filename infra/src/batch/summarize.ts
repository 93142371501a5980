// `penstock batch summarize FOLDER`: asks the same about every text of a folder and writes each answer
// beside its text. Running it again goes on where the last run was left, and asks only what is new.
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { BatchObject } from '@penstock/shared/contracts/batches'
import { readErrors, type Written, writeAnswers } from './answers.ts'
import { type BatchApi, createBatchApi } from './api.ts'
import { BatchError, type BatchExitCode, exitCodes } from './batch-error.ts'
import { batchOf, batchToEnd, newState } from './batch-to-end.ts'
import { type FolderRules, openNames, readText } from './folder.ts'
import { hasEnded, patiently } from './follow.ts'
import { several } from './format.ts'
import type { SummarizeOptions } from './options.ts'
import { maxBytes, maxLines, type PreparedFile, writeLines } from './prepared-file.ts'
import { createProgress, type Progress, type Terminal } from './progress.ts'
import { chatLine, promptFor } from './prompt.ts'
import { endText, exitCodeOfBatch, faultsText } from './report.ts'
import { holding, type RunState, readState, removeState, writeState } from './state-file.ts'
import { findByToken } from './submit.ts'

const shownErrors = 10
const maxPromptBytes = 1_000_000

interface Work {
  api: BatchApi
  options: SummarizeOptions
  rules: FolderRules
  prompt: string
  /** Of the settings: another prompt is another question. */
  asked: string
  statePath: string
  terminal: Terminal
  progress: Progress
  /** Files that this run has dealt with or named as skipped. */
  seen: Set<string>
}

/** @throws BatchError */
export async function summarizeFolder(
  given: string,
  options: SummarizeOptions,
  terminal: Terminal,
): Promise<BatchExitCode> {
  const folder = resolve(given)
  if (!(await stat(folder).catch(() => null))?.isDirectory()) {
    throw new BatchError(`${folder} is no folder.`)
  }
  const { model, outSuffix, ext: endings, promptFile } = options
  const prompt = await readPrompt(promptFile)
  const settings = JSON.stringify([model, prompt, outSuffix])
  const statePath = join(folder, '.penstock-summarize.json')
  const work: Work = {
    api: createBatchApi(options),
    options,
    rules: { folder, outSuffix, endings, except: [promptFile] },
    prompt,
    asked: createHash('sha256').update(settings).digest('hex'),
    statePath,
    terminal,
    progress: createProgress(terminal.stderr),
    seen: new Set(),
  }
  return holding(statePath, () => allBatches(work))
}

/** One after the other, as a folder may hold more than one batch can; each is about other files. */
async function allBatches(work: Work): Promise<BatchExitCode> {
  const { options, statePath, terminal } = work
  let worst: BatchExitCode = exitCodes.done
  let state = options.fresh ? null : await keptState(work)
  for (let isFirst = true; ; isFirst = false) {
    const startedAt = Date.now()
    const prepared = state === null ? await prepareTexts(work) : null
    if (state === null && prepared === null) {
      if (isFirst) terminal.stdout.write('Nothing to do: every text has its answer.\n')
      return worst
    }
    try {
      const current: RunState = state ?? newState(options.url, work.asked, startedAt)
      const batch = await oneBatch(work, current, prepared)
      if (terminal.signal.aborted) return exitCodes.interrupted
      const code = exitCodeOfBatch(batch)
      if (code > worst) worst = code
      if (batch.status !== 'completed') return worst
    } finally {
      await prepared?.remove()
    }
    await removeState(statePath)
    state = null
  }
}

async function oneBatch(
  work: Work,
  state: RunState,
  prepared: PreparedFile | null,
): Promise<BatchObject> {
  const { api, options, rules, statePath, terminal, progress, seen } = work
  const { signal } = terminal
  if (prepared !== null) {
    await api.checkModel(options.model)
    await writeState(statePath, state)
  }
  const filename = `${basename(rules.folder)}.jsonl`
  const shared = { api, statePath, state, options, progress, signal }
  const batch = await batchToEnd({ ...shared, prepared, filename })
  const written = await fetchAnswers(work, batch, state.started_at)
  for (const name of written.names) seen.add(name)
  // Of a batch that has ended otherwise nothing is left to fetch either.
  await removeState(statePath)
  const errors = written.errors.slice(0, shownErrors).map((error) => `  ${error}`)
  if (written.errors.length > errors.length) errors.push('  …')
  const wrote = `Wrote ${several(written.written, 'file')} beside their texts.`
  const report = [endText(batch), ...faultsText(batch), wrote, ...errors]
  terminal.stdout.write(`${report.join('\n')}\n`)
  return batch
}

async function fetchAnswers(
  { api, rules, progress }: Work,
  batch: BatchObject,
  readAt: number,
): Promise<Written> {
  const { signal } = new AbortController()
  const source = { api, rules, signal, readAt }
  const fetchAll = async () => {
    const into: Written = { names: new Set(), written: 0, errors: [] }
    const { output_file_id: output, error_file_id: errors } = batch
    if (output !== null) await writeAnswers(source, output, into)
    if (errors !== null) await readErrors(source, errors, into)
    return into
  }
  return patiently(fetchAll, progress, signal)
}

/**
 * The batch that the last run left, if it is still to be fetched; null: there is none.
 * @throws BatchError where it asks something else and still runs
 */
async function keptState({ api, options, asked, statePath }: Work): Promise<RunState | null> {
  const kept = await readState(statePath)
  if (kept === null) return null
  if (kept.url !== options.url) {
    const message = `The last batch for this folder is at ${kept.url}.`
    throw new BatchError(`${message} Use --url, or start anew with --fresh.`)
  }
  const batch =
    kept.batch_id === null
      ? await findByToken(api, kept)
      : await batchOf(api, kept.batch_id, statePath)
  if (batch === null || batch.status === 'failed') return null
  if (kept.asked === asked) return { ...kept, batch_id: batch.id }
  if (hasEnded(batch)) return null
  const message = `${batch.id} still runs for this folder, with another prompt, model or suffix.`
  throw new BatchError(`${message} Cancel it: \`penstock batch cancel ${batch.id}\`.`)
}

/** The next texts without an answer, as many as one batch may have; null: there are none. */
async function prepareTexts(work: Work): Promise<PreparedFile | null> {
  const { options, rules, prompt, progress, seen } = work
  const onSkipped = (name: string, why: string) => {
    seen.add(name)
    progress.say(`Skipped ${name}: ${why}.`)
  }
  const lines = async function* () {
    let count = 0
    let bytes = 0
    for await (const name of openNames(rules)) {
      if (seen.has(name)) continue
      const file = await readText(rules, name, onSkipped)
      if (file === null) continue
      const line = Buffer.from(chatLine(options.model, name, promptFor(prompt, name, file.text)))
      count += 1
      bytes += line.length + 1
      if (count > maxLines || bytes > maxBytes) return
      yield line
    }
  }
  const prepared = await writeLines(lines())
  if (prepared.lines > 0) return { ...prepared, endpoint: '/v1/chat/completions' }
  await prepared.remove()
  return null
}

async function readPrompt(path: string): Promise<string> {
  const prompt = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new BatchError(`The prompt file ${path} cannot be read.`, undefined, cause)
  })
  if (prompt.trim() === '') throw new BatchError(`The prompt file ${path} is empty.`)
  if (prompt.length <= maxPromptBytes) return prompt
  throw new BatchError(`The prompt file ${path} is larger than ${maxPromptBytes / 1_000_000} MB.`)
}

// OpenAI's /v1/batches (https://platform.openai.com/docs/api-reference/batch), and ours: pause, resume,
// and the dead letters with their retry. A route changes the batch's row; the runners do the rest.
import { batchEndpoints, createBatchRequest } from '@penstock/shared/contracts/batches'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { parseFields } from '@penstock/shared/parse-fields'
import { isTraceparent, SpanKind, traceparentOf } from '@penstock/shared/telemetry/trace'
import type { Request, RequestHandler } from 'express'
import { z } from 'zod'
import type { Gateway } from '../../gateway.ts'
import { parseJson, readBody } from '../../read-body.ts'
import { parseQuery } from '../../schemas.ts'
import { createBatch, windowMs } from '../create-batch.ts'
import {
  batchObjectOf,
  cancelBatch,
  type DeadLetter,
  findBatch,
  listBatches,
  listDead,
  redriveDead,
  setPaused,
} from '../store/batches.ts'
import { askDatabase, type BatchRow } from '../store/database.ts'
import { findFile } from '../store/files.ts'
import { type Asker, type BatchAccess, batchRoute, listObject } from './batch-route.ts'

const maxMetadata = 16
const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().max(128).optional(),
})
const deadQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  /** The last line number of the page before. */
  after: z.coerce.number().int().min(0).default(0),
})

const request = createBatchRequest.extend({
  metadata: createBatchRequest.shape.metadata
    .refine(
      (metadata) => Object.keys(metadata ?? {}).length <= maxMetadata,
      `expected at most ${maxMetadata} entries`,
    )
    .refine(isStorable, 'expected text without zero bytes and halves of characters'),
  window: createBatchRequest.shape.window.refine(
    (window) => isZone(window?.split(' ')[1] ?? 'UTC'),
    'expected hours and the name of a time zone, like 22:00-06:00 Europe/Berlin',
  ),
  endpoint: z.enum(batchEndpoints, `expected one of ${batchEndpoints.join(', ')}`),
})

export function postBatch(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const asked = parseFields(request, parseJson(await readBody(req)), 'request')
    await checkInput(access, asker, asked.input_file_id)
    const { correlationId } = res.locals
    const parent = incomingTrace(req)
    const span = gateway.tracing.start('create batch', {
      kind: SpanKind.SERVER,
      parent,
      attributes: { 'penstock.correlation_id': correlationId },
    })
    const { metadata = null, not_before: notBefore = null } = asked
    try {
      const row = await createBatch(
        access,
        asker,
        {
          endpoint: asked.endpoint,
          input_file_id: asked.input_file_id,
          completion_window: asked.completion_window,
          output_expires_seconds: asked.output_expires_after?.seconds ?? null,
          metadata: metadata === null ? null : JSON.stringify(metadata),
          on_budget_exceeded: asked.on_budget_exceeded,
          not_before: notBefore === null ? null : momentOf(notBefore),
          off_peak: asked.window ?? null,
          correlation_id: correlationId,
          traceparent: span === null ? parent : traceparentOf(span),
        },
        gateway.log,
      )
      span?.setAttribute('penstock.batch_id', row.batch_id)
      gateway.log.info({ correlationId, batchId: row.batch_id }, 'batch created')
      res.json(batchObjectOf(row))
    } finally {
      span?.end()
    }
  })
}

async function checkInput({ db }: BatchAccess, { sees }: Asker, id: string): Promise<void> {
  const file = await askDatabase(findFile(db, id, sees))
  const what = `the file \`${id.slice(0, 128)}\``
  const fault =
    file === null
      ? `there is no file \`${id.slice(0, 128)}\``
      : file.purpose !== 'batch'
        ? `${what} has the purpose ${file.purpose}, not batch`
        : null
  if (fault === null) return
  const message = `Invalid request: input_file_id: ${fault}`
  throw new PenstockError('invalid_request', message, { param: 'input_file_id' })
}

export function getBatches(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, { db }, { sees }) => {
    const { limit, after = null } = parseQuery(listQuery, req.query)
    const rows = await askDatabase(listBatches(db, sees, 'chat', { limit, after }))
    res.json(listObject(rows, limit, (row) => batchObjectOf(row)))
  })
}

export function getBatch(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    res.json(batchObjectOf(await batchOf(req, access, asker)))
  })
}

export function postCancel(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const batch = await batchOf(req, access, asker)
    const changed = await askDatabase(cancelBatch(access.db, batch.batch_id))
    // Asked twice, it is answered twice.
    const isDone = batch.status === 'cancelling' || batch.status === 'cancelled'
    if (changed === null && !isDone) throw notNow(await batchOf(req, access, asker), 'cancelled')
    if (changed !== null) announce(gateway, access, changed)
    res.json(batchObjectOf(changed ?? batch))
  })
}

export function postPaused(gateway: Gateway, paused: boolean): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const { batch_id: id } = await batchOf(req, access, asker)
    const changed = await askDatabase(setPaused(access.db, id, paused))
    if (changed === null) {
      throw notNow(await batchOf(req, access, asker), paused ? 'paused' : 'resumed')
    }
    announce(gateway, access, changed)
    res.json(batchObjectOf(changed))
  })
}

export function postRetry(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const batch = await batchOf(req, access, asker)
    const { batch_id: id, completion_window: window } = batch
    const redriven = await askDatabase(redriveDead(access.db, id, windowMs(window)))
    if (redriven === null) throw notNow(batch, 'retried')
    if (redriven === 'gone') {
      const message = `The input file of the batch \`${id}\` is gone: it cannot be retried.`
      throw new PenstockError('conflict', message, { param: 'batch_id' })
    }
    if (redriven > 0) announce(gateway, access, batch)
    res.json({ ...batchObjectOf(await batchOf(req, access, asker)), redriven })
  })
}

export function getDeadLetters(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const { batch_id: id } = await batchOf(req, access, asker)
    const { limit, after } = parseQuery(deadQuery, req.query)
    const rows = await askDatabase(listDead(access.db, id, { limit, after }))
    const data = rows.slice(0, limit).map(deadLetterOf)
    res.json({ object: 'list', data, has_more: rows.length > limit })
  })
}

/** What stands in the error file, with where it stood in the input. */
function deadLetterOf({ line_number: line, attempts, finished_at, line: text }: DeadLetter) {
  const finishedAt = Math.floor(finished_at.getTime() / 1_000)
  return { object: 'batch.dead_letter', line, attempts, finished_at: finishedAt, ...objectIn(text) }
}

function objectIn(text: string): object {
  const parsed: unknown = JSON.parse(text)
  return typeof parsed === 'object' && parsed !== null ? parsed : {}
}

async function batchOf(req: Request, { db }: BatchAccess, { sees }: Asker): Promise<BatchRow> {
  const id = String(req.params.batch_id)
  const batch = await askDatabase(findBatch(db, id, sees))
  if (batch !== null) return batch
  const message = `There is no batch \`${id.slice(0, 128)}\`.`
  throw new PenstockError('not_found', message, { param: 'batch_id' })
}

/** Should nobody hear it: runners look for themselves as well. */
function announce({ log }: Gateway, { queue }: BatchAccess, { batch_id: batchId }: BatchRow): void {
  const tell = async () => (await queue()).changed(batchId)
  tell().catch((err) => {
    log.warn({ err, batchId }, 'runners could not be told of a change; they will look')
  })
}

function notNow({ batch_id: id, status }: BatchRow, what: string): PenstockError {
  const message = `The batch \`${id}\` is ${status}: it cannot be ${what}.`
  return new PenstockError('conflict', message, { param: 'batch_id' })
}

/** @param notBefore epoch seconds, or an ISO moment */
function momentOf(notBefore: number | string): Date {
  return new Date(typeof notBefore === 'number' ? notBefore * 1_000 : notBefore)
}

/** Of jsonb's text. */
function isStorable(metadata: Record<string, string> | null | undefined): boolean {
  const texts = Object.entries(metadata ?? {}).flat()
  return texts.every((text) => text.isWellFormed() && !text.includes('\0'))
}

function isZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }) !== null
  } catch {
    return false
  }
}

function incomingTrace({ headers: { traceparent } }: Request): string | null {
  return typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : null
}

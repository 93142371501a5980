// Anthropic's /v1/messages/batches (docs: api/creating-message-batches) over the same engine: requests
// come in one body and become an input file, results are read from the batch's files.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { messages } from '@penstock/shared/dialects/messages/messages'
import { parseFields } from '@penstock/shared/parse-fields'
import { isTraceparent } from '@penstock/shared/telemetry/trace'
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import type { Gateway } from '../../gateway.ts'
import { parseJson, readBody } from '../../read-body.ts'
import { useDialect } from '../../read-request.ts'
import { nameRequest } from '../../routes/messages.ts'
import { parseQuery } from '../../schemas.ts'
import { checkRequests, createMessageBatch } from '../create-message-batch.ts'
import { batchIdOf, hasEnded, messageBatchId, messageBatchObject } from '../message-batch-object.ts'
import { messageBatchRequest, refusedLines, resultLines } from '../message-lines.ts'
import { discard } from '../remove-files.ts'
import { cancelBatch } from '../store/batches.ts'
import { askDatabase, type BatchRow } from '../store/database.ts'
import {
  deleteMessageBatch,
  findMessageBatch,
  listMessageBatches,
} from '../store/message-batches.ts'
import { type Asker, type BatchAccess, type BatchHandler, batchRoute } from './batch-route.ts'

const pageId = z.string().max(128).transform(batchIdOf).optional()
const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1_000).default(20),
  after_id: pageId,
  before_id: pageId,
})

export function messageBatchRoutes(gateway: Gateway) {
  const route = (handle: BatchHandler): RequestHandler[] => [
    nameRequest,
    useDialect(messages),
    batchRoute(gateway, handle),
  ]
  return {
    create: route(async (req, res, access, asker) => {
      const identity = await gateway.authenticate(req)
      const { requests } = parseFields(
        messageBatchRequest,
        parseJson(await readBody(req)),
        'request',
      )
      await checkRequests(gateway, identity, requests)
      const trace = { correlationId: res.locals.correlationId, traceparent: incomingTrace(req) }
      const row = await createMessageBatch(access, asker, requests, trace, gateway.log)
      res.json(messageBatchObject(row, req))
    }),

    list: route(async (req, res, access, { sees }) => {
      const { limit, after_id, before_id } = parseQuery(listQuery, req.query)
      const page = { limit, after: after_id ?? null, before: before_id ?? null }
      const { rows, hasMore } = await askDatabase(listMessageBatches(access.db, sees, page))
      const data = rows.map((row) => messageBatchObject(row, req))
      const [first, last] = [data[0]?.id ?? null, data.at(-1)?.id ?? null]
      res.json({ data, has_more: hasMore, first_id: first, last_id: last })
    }),

    retrieve: route(async (req, res, access, asker) => {
      const row = await find(req, access, asker)
      res.json(messageBatchObject(row, req))
    }),

    cancel: route(async (req, res, access, asker) => {
      const row = await find(req, access, asker)
      const changed = await askDatabase(cancelBatch(access.db, row.batch_id))
      if (changed !== null) tellRunners(gateway, access, changed)
      // One that ends at this moment, or has ended, is shown as it is.
      res.json(messageBatchObject(await find(req, access, asker), req))
    }),

    remove: route(async (req, res, access, asker) => {
      const row = await find(req, access, asker)
      const files = await askDatabase(deleteMessageBatch(access.db, row.batch_id))
      const id = messageBatchId(row)
      if (files === null) {
        const message = `The batch \`${id}\` has not ended: cancel it first.`
        throw new PenstockError('invalid_request', message, { param: 'message_batch_id' })
      }
      // They are gone for everybody; should this fail, the sweeper has their bytes.
      for (const file of files) {
        await discard(access, file).catch((err) => gateway.log.warn({ err, file }, 'not removed'))
      }
      res.json({ id, type: 'message_batch_deleted' })
    }),

    results: route(async (req, res, access, asker) => {
      const row = await find(req, access, asker)
      if (!hasEnded(row)) {
        const message = `The batch \`${messageBatchId(row)}\` has no results before it has ended.`
        throw new PenstockError('invalid_request', message, { param: 'message_batch_id' })
      }
      await sendResults(access, row, res)
    }),
  }
}

async function sendResults({ storage }: BatchAccess, row: BatchRow, res: Response): Promise<void> {
  const { status, input_file_id, output_file_id, error_file_id, errors } = row
  const results = async function* () {
    if (status === 'failed') {
      const faults = new Map(errors?.map(({ line, message }) => [line, message]))
      const other = faults.values().next().value ?? 'The batch failed.'
      const errorOf = (line: number) => {
        const message = faults.get(line) ?? faults.get(null) ?? `Not asked: ${other}`
        const fault = new PenstockError('invalid_request', message)
        return messages.errorBody(fault.info, res.locals.correlationId)
      }
      yield* refusedLines(await storage.read(input_file_id), errorOf)
      return
    }
    for (const fileId of [output_file_id, error_file_id]) {
      if (fileId !== null) yield* resultLines(await storage.read(fileId))
    }
  }
  const lines = results()
  try {
    // The storage may refuse: then there still is a status to say so with.
    const first = await lines.next()
    res.setHeader('content-type', 'application/x-jsonl')
    const whole = async function* () {
      if (first.done !== true) yield first.value
      yield* lines
    }
    // The head is out: all that can be said is that the rest does not come.
    await pipeline(Readable.from(whole()), res).catch(() => res.destroy())
  } finally {
    // Where the client left before `whole` came to them, nobody else closes the file.
    await lines.return()
  }
}

async function find(req: Request, { db }: BatchAccess, { sees }: Asker): Promise<BatchRow> {
  const id = String(req.params.message_batch_id)
  const row = await askDatabase(findMessageBatch(db, batchIdOf(id), sees))
  if (row !== null) return row
  const message = `There is no batch \`${id.slice(0, 128)}\`.`
  throw new PenstockError('not_found', message, { param: 'message_batch_id' })
}

/** Should nobody hear it: runners look for themselves as well. */
function tellRunners({ log }: Gateway, { queue }: BatchAccess, { batch_id: batchId }: BatchRow) {
  const tell = async () => (await queue()).changed(batchId)
  tell().catch((err) => log.warn({ err, batchId }, 'runners could not be told; they will look'))
}

function incomingTrace({ headers: { traceparent } }: Request): string | null {
  return typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : null
}

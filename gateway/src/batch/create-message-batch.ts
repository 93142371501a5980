// Makes a batch of Anthropic's requests: all of them are checked before anything is made, then they
// become the lines of an input file.
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { type Models, resolveModel } from '../access/model-access.ts'
import type { Identity } from '../auth.ts'
import { createBatch } from './create-batch.ts'
import { prepareLine } from './engine/prepare-line.ts'
import { maxFileBytes } from './engine/validate.ts'
import { inputLine, type MessageRequest, messagesEndpoint } from './message-lines.ts'
import { discard } from './remove-files.ts'
import type { Asker, BatchAccess } from './routes/batch-route.ts'
import { askDatabase, type BatchRow } from './store/database.ts'
import { beginFile, completeFile, markRemoved, newFileId } from './store/files.ts'

/** Requests checked in one turn of the event loop. */
const checkedAtOnce = 64

/** Before anything is made: what is wrong with one request is told with its place. */
export async function checkRequests(
  models: Models,
  identity: Identity,
  requests: readonly MessageRequest[],
): Promise<void> {
  const seen = new Set<string>()
  for (const [index, { custom_id: customId, params }] of requests.entries()) {
    if (index % checkedAtOnce === checkedAtOnce - 1) await nextTurn()
    const at = `requests[${index}]`
    if (seen.has(customId)) {
      const message = `Invalid request: ${at}.custom_id: \`${customId}\` was taken already`
      throw new PenstockError('invalid_request', message, { param: `${at}.custom_id` })
    }
    seen.add(customId)
    try {
      resolveModel(models, identity, prepareLine(messagesEndpoint, params).request.model)
    } catch (cause) {
      if (!(cause instanceof PenstockError)) throw cause
      const { code, message, param } = cause.info
      const named = { param: param === null ? `${at}.params` : `${at}.params.${param}`, cause }
      throw new PenstockError(code, `${at} (\`${customId}\`): ${message}`, named)
    }
  }
}

/** @throws PenstockError `service_unavailable` (507: no space is left); nothing is left behind then */
export async function createMessageBatch(
  access: BatchAccess,
  asker: Asker,
  requests: readonly MessageRequest[],
  trace: { correlationId: string; traceparent: string | null },
  log: Logger,
): Promise<BatchRow> {
  const { db, storage } = access
  const fileId = newFileId()
  await askDatabase(beginFile(db, fileId, asker.owner))
  try {
    const lines = Readable.from(linesOf(requests))
    const bytes = await storage.put(fileId, lines, { maxBytes: maxFileBytes })
    const written = {
      purpose: 'message_batch',
      filename: `${fileId}.jsonl`,
      bytes,
      expiresAt: null,
    }
    if ((await askDatabase(completeFile(db, fileId, written))) === null) {
      throw new PenstockError('deadline_exceeded', 'The requests took too long to store.')
    }
    const row = await createBatch(
      access,
      asker,
      {
        dialect: 'messages',
        endpoint: messagesEndpoint,
        input_file_id: fileId,
        completion_window: '24h',
        output_expires_seconds: null,
        metadata: null,
        on_budget_exceeded: 'fail',
        not_before: null,
        off_peak: null,
        correlation_id: trace.correlationId,
        traceparent: trace.traceparent,
        total: requests.length,
      },
      log,
    )
    log.info({ correlationId: trace.correlationId, batchId: row.batch_id }, 'batch created')
    return row
  } catch (error) {
    // Where this fails too, the sweeper has it. The batch may have been made though nobody heard of it.
    const left = await markRemoved(db, fileId, null).catch(() => 'used')
    if (left !== 'used') await discard(access, fileId).catch(() => {})
    throw error
  }
}

function* linesOf(requests: readonly MessageRequest[]): Generator<Buffer, void> {
  for (const request of requests) yield inputLine(request)
}

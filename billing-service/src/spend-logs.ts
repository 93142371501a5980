// GET /spend/logs: the request log a page at a time, newest first, in LiteLLM's field names.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { SpendLogRow, SpendLogsPage, SpendLogsQuery } from '@penstock/shared/contracts/spend'
import { dollarText } from '@penstock/shared/pricing/money'
import type { Kysely, Selectable } from 'kysely'
import { sql } from 'kysely'
import { z } from 'zod'
import type { Database, RequestLogTable } from './database.ts'
import { periodOf } from './spend-period.ts'

type LogRow = Selectable<RequestLogTable>

/** A page travels in one NATS message (1 MB by default), with room to spare for its frame. */
const maxPageBytes = 768 * 1024

const callTypes = {
  chat: 'acompletion',
  completion: 'atext_completion',
  embedding: 'aembedding',
} as const

/**
 * One page. A cursor names the last row seen, so that rows which arrive meanwhile move nothing.
 * @throws PenstockError `invalid_request` for a cursor that is none of ours.
 */
export async function spendLogs(
  db: Kysely<Database>,
  query: SpendLogsQuery,
): Promise<SpendLogsPage> {
  const { from, before } = periodOf(query)
  const after = query.cursor === undefined ? null : decodeCursor(query.cursor)
  let select = db.selectFrom('request_log').selectAll()
  if (query.api_key !== undefined) select = select.where('key_id', '=', query.api_key)
  if (query.user_id !== undefined) select = select.where('user_id', '=', query.user_id)
  if (query.request_id !== undefined) select = select.where('request_id', '=', query.request_id)
  if (from !== null) select = select.where('received_at', '>=', sql<Date>`${from}`)
  if (before !== null) select = select.where('received_at', '<', sql<Date>`${before}`)
  if (after !== null) {
    const [epochMs, requestId, attempt] = after
    const receivedAt = new Date(epochMs).toISOString()
    const last = sql`(${receivedAt}::timestamptz, ${requestId}, ${attempt}::int)`
    select = select.where(sql<boolean>`(received_at, request_id, attempt) < ${last}`)
  }
  const found = await select
    .orderBy('received_at', 'desc')
    .orderBy('request_id', 'desc')
    .orderBy('attempt', 'desc')
    .limit(query.limit + 1)
    .execute()
  return page(found, query.limit)
}

function page(found: LogRow[], limit: number): SpendLogsPage {
  const rows: SpendLogRow[] = []
  let bytes = 0
  let last: LogRow | null = null
  for (const log of found) {
    const row = spendLogRowOf(log)
    bytes += Buffer.byteLength(JSON.stringify(row)) + 1
    if (last !== null && (rows.length === limit || bytes > maxPageBytes)) {
      return { rows, nextCursor: encodeCursor(last) }
    }
    rows.push(row)
    last = log
  }
  return { rows, nextCursor: null }
}

function spendLogRowOf(log: LogRow): SpendLogRow {
  const promptTokens = Number(log.prompt_tokens)
  const completionTokens = Number(log.completion_tokens)
  const spendUsd = dollarText(BigInt(log.amount))
  return {
    request_id: log.request_id,
    call_type: callTypes[log.operation],
    api_key: log.key_id ?? '',
    spend: Number(spendUsd),
    total_tokens: promptTokens + completionTokens,
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    startTime: log.received_at.toISOString(),
    endTime: log.ended_at.toISOString(),
    completionStartTime: log.first_token_at?.toISOString() ?? null,
    request_duration_ms: log.ended_at.getTime() - log.received_at.getTime(),
    model: log.model,
    model_id: log.deployment_id,
    model_group: log.model_group,
    custom_llm_provider: log.provider,
    api_base: log.api_base ?? '',
    user: log.user_id ?? '',
    team_id: log.team_id ?? '',
    end_user: log.end_user ?? '',
    request_tags: log.tags,
    session_id: log.session_id,
    status: log.status,
    metadata: metadataOf(log),
    attempt: log.attempt,
    correlation_id: log.correlation_id,
    spend_usd: spendUsd,
    cost_source: log.price_source,
    usage_estimated: log.usage_estimated,
    error: log.error,
  }
}

function metadataOf(log: LogRow): SpendLogRow['metadata'] {
  return {
    stream: log.stream,
    requested_model: log.requested_model,
    /** When this attempt began: the row's startTime is the request's. */
    attempt_started_at: log.started_at.toISOString(),
    worker_id: log.worker_id,
    traceparent: log.traceparent,
    usage_object: {
      prompt_tokens_details: {
        cached_tokens: Number(log.cached_prompt_tokens),
        cache_creation_tokens: Number(log.cache_write_tokens),
        audio_tokens: Number(log.audio_prompt_tokens),
      },
      completion_tokens_details: {
        reasoning_tokens: Number(log.reasoning_tokens),
        audio_tokens: Number(log.audio_completion_tokens),
      },
    },
  }
}

/** received_at in epoch milliseconds (a Date's range), request id, attempt. */
const cursor = z.tuple([z.int().min(-8.64e15).max(8.64e15), z.string(), z.int32()])

function encodeCursor(row: LogRow): string {
  const position = [row.received_at.getTime(), row.request_id, row.attempt]
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

function decodeCursor(text: string): z.infer<typeof cursor> {
  try {
    return cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch (cause) {
    throw new PenstockError('invalid_request', 'The cursor is not one that we gave out.', {
      param: 'cursor',
      cause,
    })
  }
}

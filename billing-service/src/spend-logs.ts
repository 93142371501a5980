// GET /spend/logs: the request log a page at a time, newest first, in LiteLLM's field names.
import type { WithBody } from '@penstock/shared/bus/request-reply'
import type { Operation } from '@penstock/shared/contracts/request'
import type { SpendLogRow, SpendLogsPage, SpendLogsQuery } from '@penstock/shared/contracts/spend'
import { dollarText } from '@penstock/shared/pricing/money'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { z } from 'zod'
import type { Database, RequestLogTable } from './database.ts'
import { type LogRow, newestRows } from './reports/newest-rows.ts'
import { type Page, pageOf, readCursor } from './reports/page.ts'
import { keyIdOf, scopeOf } from './reports/scope.ts'
import { periodOf } from './spend-period.ts'

const callTypes = {
  chat: 'acompletion',
  completion: 'atext_completion',
  embedding: 'aembedding',
  moderation: 'amoderation',
  rerank: 'arerank',
  image: 'aimage_generation',
  speech: 'aspeech',
  transcription: 'atranscription',
  translation: 'atranslation',
} as const satisfies Record<Operation, string>

/** Filters that a column is compared with. */
const columns = {
  user_id: 'user_id',
  team_id: 'team_id',
  request_id: 'request_id',
  model: 'model',
  model_group: 'model_group',
  status: 'status',
  end_user: 'end_user',
} as const satisfies Partial<Record<keyof SpendLogsQuery, keyof RequestLogTable>>

/** received_at in epoch milliseconds (a Date's range), request id, attempt. */
const cursor = z.tuple([z.int().min(-8.64e15).max(8.64e15), z.string(), z.int32()])

/**
 * One page of what the actor may see. A cursor names the last row seen, so that rows which arrive
 * meanwhile move nothing.
 * @throws PenstockError `invalid_request` for a cursor that is none of ours.
 */
export async function spendLogs(
  db: Kysely<Database>,
  query: SpendLogsQuery,
): Promise<WithBody<SpendLogsPage>> {
  const after = readCursor(query.cursor, cursor)
  const keyId = query.api_key === undefined ? undefined : await keyIdOf(db, query.api_key)
  if (keyId === null) return withRows({ rows: [], nextCursor: null })
  const { from, before } = periodOf(query)
  const conditions: RawBuilder<boolean>[] = []
  if (keyId !== undefined) conditions.push(sql`key_id = ${keyId}`)
  for (const [filter, column] of Object.entries(columns) as [keyof typeof columns, string][]) {
    const value = query[filter]
    if (value !== undefined) conditions.push(sql`${sql.ref(column)} = ${value}`)
  }
  if (query.tag !== undefined) conditions.push(sql`${query.tag} = any(tags)`)
  if (from !== null) conditions.push(sql`received_at >= ${from}::timestamptz`)
  if (before !== null) conditions.push(sql`received_at < ${before}::timestamptz`)
  if (after !== null) {
    const [epochMs, requestId, attempt] = after
    const receivedAt = new Date(epochMs).toISOString()
    const last = sql`(${receivedAt}::timestamptz, ${requestId}, ${attempt}::int)`
    // The first condition says no more than the second, but it tells which months are needed.
    conditions.push(sql`received_at <= ${receivedAt}::timestamptz`)
    conditions.push(sql`(received_at, request_id, attempt) < ${last}`)
  }
  const scope = await scopeOf(db, query.actor)
  const found = await newestRows(db, scope, conditions, query.limit + 1)
  const page = pageOf(
    found,
    query.limit,
    (row) => JSON.stringify(spendLogRowOf(row)),
    (row) => [row.received_at.getTime(), row.request_id, row.attempt],
    (text) => text,
  )
  return withRows(page)
}

function withRows({ rows, nextCursor }: Page<string>): WithBody<SpendLogsPage> {
  return { answer: { rows: rows.length, nextCursor }, body: Buffer.from(rows.join()) }
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

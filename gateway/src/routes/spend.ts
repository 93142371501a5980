// GET /spend/logs, as LiteLLM answers it: rows newest first with `summarize=false`, or a summary by
// day; page by page for who asks with a `cursor`; as CSV. Everybody sees its own: billing sees to it.
import { ask, askForBody } from '@penstock/shared/bus/request-reply'
import type { Actor } from '@penstock/shared/contracts/admin'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import {
  type SpendLogRow,
  type SpendSummary,
  type SpendSummaryDay,
  spendLogRow,
  spendLogsFilters,
  spendSummaryFilters,
} from '@penstock/shared/contracts/spend'
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import { keyReference } from '../access/key-texts.ts'
import type { CsvRow } from '../csv.ts'
import { finishResponse } from '../finish-response.ts'
import type { Gateway } from '../gateway.ts'
import { parseQuery } from '../schemas.ts'
import {
  csvList,
  jsonList,
  streamRows,
  type WrittenPage,
  wantsCsv,
  writtenPage,
} from '../stream-rows.ts'

const maxRows = 10_000
/** A file that stops in the middle of a month is of no use. */
const maxCsvRows = 1_000_000
const timeoutMs = 15_000

const rowLimit = (most: number) => z.coerce.number().int().min(1).max(most).default(most)
const logsQuery = spendLogsFilters.extend({ limit: rowLimit(maxRows) })
type LogsQuery = z.output<typeof logsQuery>
const csvQuery = logsQuery.extend({ limit: rowLimit(maxCsvRows) })
const pageQuery = spendLogsFilters.extend({
  limit: z.coerce.number().int().min(1).max(500).default(100),
})
type SummaryQuery = z.output<typeof spendSummaryFilters>
const summarize = z.object({ summarize: z.enum(['true', 'false']).optional() })

/** What a summary cannot be narrowed by: who asks for one of these means rows. */
const rowsOnly = ['model', 'model_group', 'tag', 'status', 'end_user', 'cursor'] as const

export function spendLogs(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const { actor } = await gateway.authenticate(req)
    res.setHeader('cache-control', 'no-store')
    const isCsv = wantsCsv(req)
    if (wantsSummary(req, isCsv)) {
      const query = parseQuery(spendSummaryFilters, req.query)
      res.json(await summary(gateway, actor, withKeyReference(gateway, query)))
      return
    }
    const schema = isCsv ? csvQuery : logsQuery
    if (req.query.cursor !== undefined) {
      const query = withKeyReference(gateway, parseQuery(pageQuery, req.query))
      await onePage(gateway, actor, query, isCsv, res)
    } else {
      const query = withKeyReference(gateway, parseQuery(schema, req.query))
      await streamRows(res, gateway.log, isCsv ? logsCsv : jsonList, {
        limit: query.limit,
        page: (cursor, limit) => pageOf(gateway, actor, { ...query, limit }, cursor, isCsv),
      })
    }
  }
}

/** LiteLLM summarises where a period is given, unless told otherwise. */
function wantsSummary({ query }: Request, isCsv: boolean): boolean {
  const { summarize: wanted } = parseQuery(summarize, query)
  const narrower = isCsv ? 'format' : rowsOnly.find((name) => query[name] !== undefined)
  if (wanted === 'true' && narrower !== undefined) {
    const message = `Invalid query: ${narrower}: a summary (summarize=true) cannot take it`
    throw new PenstockError('invalid_request', message, { param: narrower })
  }
  const hasPeriod = query.start_date !== undefined && query.end_date !== undefined
  return wanted === 'true' || (wanted === undefined && hasPeriod && narrower === undefined)
}

/** A key may be named by its id or, as in LiteLLM, by itself; that goes no further than here. */
export function withKeyReference<Q extends { api_key?: string | undefined }>(
  { secret, config }: Gateway,
  query: Q,
): Q {
  if (query.api_key === undefined) return query
  return { ...query, api_key: keyReference(query.api_key, secret, config.masterKey) }
}

/** An empty cursor asks for the first page. */
async function onePage(
  gateway: Gateway,
  actor: Actor,
  { cursor = '', ...query }: LogsQuery,
  isCsv: boolean,
  res: Response,
): Promise<void> {
  const after = cursor === '' ? null : cursor
  const { text, nextCursor } = await pageOf(gateway, actor, query, after, isCsv)
  if (nextCursor !== null) res.setHeader('x-next-cursor', nextCursor)
  if (isCsv) {
    res.type('text/csv').send(`${logsCsv.begin}${text}`)
  } else {
    res.type('json').write('{"data":[')
    res.write(text)
    finishResponse(res, `],"next_cursor":${JSON.stringify(nextCursor)}}`)
  }
}

/** As JSON, whose rows billing has written, or as CSV. */
async function pageOf(
  { bus }: Gateway,
  actor: Actor,
  query: LogsQuery,
  cursor: string | null,
  isCsv: boolean,
): Promise<WrittenPage> {
  const { spendLogs: channel } = channels
  const question = { ...query, actor, ...(cursor === null ? {} : { cursor }) }
  const { answer, body } = await askForBody(bus, channel, channel.subject(), question, timeoutMs)
  if (!isCsv) return { ...answer, text: body }
  const rows = logRows.parse(JSON.parse(`[${Buffer.from(body).toString()}]`))
  return writtenPage(logsCsv, rows, answer.nextCursor)
}

const logRows = z.array(spendLogRow)
const logsCsv = csvList<SpendLogRow>(
  [
    ...['startTime', 'request_id', 'attempt', 'status', 'error_code', 'call_type', 'model_group'],
    ...['model', 'custom_llm_provider', 'model_id', 'api_key', 'user', 'team_id', 'end_user'],
    ...['request_tags', 'session_id', 'prompt_tokens', 'completion_tokens', 'total_tokens'],
    ...['usage_estimated', 'spend', 'cost_source', 'completionStartTime', 'endTime'],
    ...['request_duration_ms', 'correlation_id'],
  ],
  ({ metadata: _, request_tags: tags, error, spend_usd: spend, ...row }): CsvRow => ({
    ...row,
    spend,
    request_tags: tags.join(','),
    error_code: error?.code,
  }),
)
async function summary(gateway: Gateway, actor: Actor, query: SummaryQuery) {
  const days: SpendSummaryDay[] = []
  let start: string | null = query.start_date
  while (start !== null) {
    const question = { ...query, actor, start_date: start }
    const { spendSummary: channel } = channels
    const part: SpendSummary = await ask(
      gateway.bus,
      channel,
      channel.subject(),
      question,
      timeoutMs,
    )
    days.push(...part.days)
    start = part.nextStart
  }
  return days
}

/** GET /spend/logs/{request_id}/content: what was kept of prompt and reply. */
export function spendContent(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const { actor } = await gateway.authenticate(req)
    res.setHeader('cache-control', 'no-store')
    const requestId = String(req.params.request_id)
    const { spendContent: channel } = channels
    const question = { actor, request_id: requestId.slice(0, 512) }
    const kept = await ask(gateway.bus, channel, channel.subject(), question, timeoutMs)
    if (kept.attempts.length === 0) {
      const message = 'Nothing of this request was kept (store_prompts), or it is kept no longer.'
      throw new PenstockError('not_found', message, { param: 'request_id' })
    }
    const attempts = kept.attempts.map((attempt) => ({
      ...attempt,
      request: jsonOrText(attempt.request),
      reply: jsonOrText(attempt.reply),
    }))
    res.json({ request_id: requestId, attempts })
  }
}

/** A stream's events, and what was cut off, are no JSON. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

// Sums of spend: GET /spend/keys|users|teams|models|tags, /global/spend(/report), as lists or CSV, and
// LiteLLM's /user/daily/activity and /team/daily/activity. Everybody sees its own: billing sees to it.
import { ask, askForBody, type WithBody } from '@penstock/shared/bus/request-reply'
import { channels } from '@penstock/shared/contracts/channels'
import {
  type ActivityDay,
  type ActivityPart,
  activityDay,
  activityFilters,
  type Grouping,
  groupings,
  type SpendMetrics,
  type TotalsRow,
  totalsFilters,
} from '@penstock/shared/contracts/reports'
import type { RequestHandler } from 'express'
import { z } from 'zod'
import { type CsvRow, csvHead, csvLine } from '../csv.ts'
import type { Gateway } from '../gateway.ts'
import { parseQuery } from '../schemas.ts'
import { csvList, jsonList, streamRows, wantsCsv, writtenPage } from '../stream-rows.ts'
import { withKeyReference } from './spend.ts'

const timeoutMs = 15_000
const maxRows = 10_000

const totalsQuery = totalsFilters.extend({
  limit: z.coerce.number().int().min(1).max(maxRows).default(maxRows),
})
/** `api_key` is LiteLLM's word. */
const reportQuery = z.object({
  group_by: z
    .enum([...groupings, 'api_key'])
    .exclude(['all'])
    .transform((by): Grouping => (by === 'api_key' ? 'key' : by))
    .default('team'),
})

/** What a group is called, and what else is known of it. */
const columns: Record<Grouping, readonly [name: string, ...about: string[]]> = {
  team: ['team_id', 'team_alias'],
  key: ['api_key', 'key_alias', 'key_name', 'user_id', 'team_id'],
  user: ['user_id', 'user_alias', 'user_email'],
  model: ['model'],
  model_group: ['model_group'],
  provider: ['provider'],
  tag: ['tag'],
  day: ['date'],
  all: ['name'],
}
const metricColumns: readonly (keyof SpendMetrics)[] = [
  'spend',
  'prompt_tokens',
  'completion_tokens',
  'total_tokens',
  'api_requests',
  'successful_requests',
  'failed_requests',
]

/** GET /spend/keys and its like: the dearest first. */
export function spendBy(gateway: Gateway, grouping: Grouping): RequestHandler {
  return totalsBy(gateway, () => grouping)
}

/** GET /global/spend/report?group_by=team|key|user|model|model_group|provider|tag|day */
export function spendReport(gateway: Gateway): RequestHandler {
  return totalsBy(gateway, (query) => parseQuery(reportQuery, query).group_by)
}

function totalsBy(gateway: Gateway, groupingOf: (query: unknown) => Grouping): RequestHandler {
  return async (req, res) => {
    const { actor } = await gateway.authenticate(req)
    res.setHeader('cache-control', 'no-store')
    const grouping = groupingOf(req.query)
    const isCsv = wantsCsv(req)
    const query = withKeyReference(gateway, parseQuery(totalsQuery, req.query))
    const { spendTotals: channel } = channels
    const format = isCsv ? totalsCsv(grouping) : jsonList
    await streamRows(res, gateway.log, format, {
      limit: query.limit,
      page: async (cursor, limit) => {
        const of = { ...query, actor, group_by: grouping, limit }
        const question = { ...of, ...(cursor === null ? {} : { cursor }) }
        const page = await ask(gateway.bus, channel, channel.subject(), question, timeoutMs)
        const rows = page.rows.map((row) => shown(grouping, row))
        return writtenPage<CsvRow>(format, rows, page.nextCursor)
      },
    })
  }
}

function totalsCsv(grouping: Grouping) {
  return csvList<CsvRow>([...columns[grouping], ...metricColumns], (row) => ({
    ...row,
    spend: row.spend_usd,
  }))
}

function shown(grouping: Grouping, { name, about, ...metrics }: TotalsRow): CsvRow {
  const [nameColumn, ...others] = columns[grouping]
  return {
    [nameColumn]: name,
    ...Object.fromEntries(others.map((column) => [column, about?.[column] ?? null])),
    ...litellmNames(grouping, name, metrics),
    ...metrics,
  }
}

/** What LiteLLM calls the same in the lists that it has, too. */
function litellmNames(grouping: Grouping, name: string, metrics: SpendMetrics): CsvRow {
  if (grouping === 'key') return { token: name }
  if (grouping !== 'tag') return {}
  const { api_requests: log_count, spend: total_spend } = metrics
  return { individual_request_tag: name, log_count, total_spend }
}

/** GET /global/spend: one sum. LiteLLM shows a budget of the whole proxy, of which there is none. */
export function globalSpend(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const { actor } = await gateway.authenticate(req)
    res.setHeader('cache-control', 'no-store')
    const query = withKeyReference(gateway, parseQuery(totalsFilters, req.query))
    const { spendTotals: channel } = channels
    const question = { ...query, actor, group_by: 'all' as const }
    const page = await ask(gateway.bus, channel, channel.subject(), question, timeoutMs)
    const [row] = page.rows
    res.json({ spend: row?.spend ?? 0, spend_usd: row?.spend_usd ?? '0', max_budget: null })
  }
}

const commaList = z
  .string()
  .transform((text) => text.split(',').map((part) => part.trim()))
  .pipe(z.array(z.string().min(1).max(512)).max(100))
  .optional()
const activityQuery = activityFilters.extend({
  team_ids: commaList,
  exclude_team_ids: commaList,
  page: z.coerce.number().int().min(1).max(1_000_000).default(1),
  page_size: z.coerce.number().int().min(1).max(1_000).default(50),
})

/** Pages are of days here. */
export function dailyActivity(gateway: Gateway, entity: 'user' | 'team'): RequestHandler {
  return async (req, res) => {
    const { actor } = await gateway.authenticate(req)
    res.setHeader('cache-control', 'no-store')
    const isCsv = wantsCsv(req)
    const { page, page_size, team_ids, exclude_team_ids, ...filters } = withKeyReference(
      gateway,
      parseQuery(activityQuery, req.query),
    )
    const asked = { ...filters, actor, entity, team_ids: team_ids ?? null }
    const { spendActivity: channel } = channels
    const begin = (page - 1) * page_size
    /** Each is one or more days as JSON, with commas between them. */
    const texts: string[] = []
    let days = 0
    let part: WithBody<ActivityPart>
    do {
      const question = {
        ...asked,
        exclude_team_ids: exclude_team_ids ?? [],
        skip: begin + days,
        limit: page_size - days,
      }
      part = await askForBody(gateway.bus, channel, channel.subject(), question, timeoutMs)
      days += part.answer.days
      if (part.answer.days > 0) texts.push(Buffer.from(part.body).toString())
    } while (part.answer.days > 0 && days < page_size && begin + days < part.answer.dayCount)
    const results = `[${texts.join()}]`
    if (isCsv) {
      res.type('text/csv').send(activityCsv(activityDays.parse(JSON.parse(results))))
      return
    }
    const { dayCount, totals } = part.answer
    const total_pages = Math.max(1, Math.ceil(dayCount / page_size))
    const has_more = page < total_pages
    const metadata = { ...totalsOf(totals), page, total_pages, has_more }
    res.type('json').send(`{"results":${results},"metadata":${JSON.stringify(metadata)}}`)
  }
}

const activityDays = z.array(activityDay)

/** `total_spend` and so on; of the whole period, on every page. */
function totalsOf({ total_tokens, ...metrics }: SpendMetrics): Record<string, number> {
  const totals = Object.entries(metrics).map(([name, value]) => [`total_${name}`, value])
  return { ...Object.fromEntries(totals), total_tokens }
}

/** A line for each day, and one for each part of it. */
function activityCsv(days: readonly ActivityDay[]): string {
  const names = ['date', 'breakdown', 'name', ...metricColumns]
  const lines = days.flatMap(({ date, metrics, breakdown }) => [
    csvLine(names, { date, ...metrics }),
    ...Object.entries(breakdown).flatMap(([kind, parts]) =>
      Object.entries(parts).map(([name, part]) =>
        csvLine(names, { date, breakdown: kind, name, ...part.metrics }),
      ),
    ),
  ])
  return csvHead(names) + lines.join('')
}

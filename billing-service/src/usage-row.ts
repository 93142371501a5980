// A priced usage event as the row that is written. Text from outside is made fit for Postgres here.
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import type { PricedUsage } from '@penstock/shared/pricing/price'
import type { RequestLogTable } from './database.ts'

/** Lengths that clients can stretch are bounded, so that a page of rows fits into one message. */
const maxIdLength = 256
const maxTextLength = 1_024
const maxTags = 32

export type UsageRow = ReturnType<typeof usageRow>

/**
 * The request log's columns; the unit prices, which only the ledger keeps; prompt and reply.
 * @throws RangeError if the id or a time in the event cannot be stored.
 */
export function usageRow(event: UsageEvent, priced: PricedUsage) {
  const { caller, usage } = event
  return {
    received_at: isoTime(event.receivedAt),
    request_id: checkedId(event.requestId),
    attempt: event.attempt,
    correlation_id: clean(event.correlationId, maxIdLength),
    status: event.status,
    error: event.error === null ? null : cleanError(event.error),
    operation: event.operation,
    stream: event.stream,
    requested_model: clean(event.requestedModel, maxIdLength),
    model_group: clean(event.group, maxIdLength),
    deployment_id: clean(event.deploymentId, maxIdLength),
    provider: clean(event.provider, maxIdLength),
    model: clean(event.model, maxIdLength),
    api_base: cleanOrNull(event.apiBase, maxTextLength),
    key_id: cleanOrNull(caller.keyId, maxIdLength),
    user_id: cleanOrNull(caller.userId, maxIdLength),
    team_id: cleanOrNull(caller.teamId, maxIdLength),
    end_user: cleanOrNull(caller.endUser, maxIdLength),
    tags: event.tags.slice(0, maxTags).map((tag) => clean(tag, maxIdLength)),
    session_id: cleanOrNull(event.sessionId, maxIdLength),
    worker_id: clean(event.workerId, maxIdLength),
    started_at: isoTime(event.startedAt),
    first_token_at: event.firstTokenAt === null ? null : isoTime(event.firstTokenAt),
    ended_at: isoTime(event.endedAt),
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    cached_prompt_tokens: usage.cachedPromptTokens,
    cache_write_tokens: usage.cacheWriteTokens,
    audio_prompt_tokens: usage.audioPromptTokens,
    reasoning_tokens: usage.reasoningTokens,
    audio_completion_tokens: usage.audioCompletionTokens,
    usage_estimated: usage.estimated,
    amount: priced.amount.toString(),
    price_source: priced.source,
    unit_prices: priced.unitPrices,
    traceparent: cleanOrNull(event.traceparent, maxIdLength),
    content: event.content === null ? null : cleanContent(event.content),
  } satisfies Record<keyof RequestLogTable | 'unit_prices' | 'content', unknown>
}

/** Every row has all of them; none where there are no rows. */
export function columnsOf([first]: readonly UsageRow[]): (keyof UsageRow)[] {
  return first === undefined ? [] : (Object.keys(first) as (keyof UsageRow)[])
}

/** Bounded where it was made. */
function cleanContent({ request, reply, truncated }: NonNullable<UsageEvent['content']>) {
  const whole = (text: string) => clean(text, text.length)
  return { request: whole(request), reply: whole(reply), truncated }
}

function cleanError(error: NonNullable<UsageEvent['error']>) {
  return {
    ...error,
    message: clean(error.message, maxTextLength),
    param: cleanOrNull(error.param, maxIdLength),
  }
}

/** An identity is taken as it is or not at all: mended, two requests could become one. */
function checkedId(id: string): string {
  if (!isStorable(id)) throw new RangeError('request id is not storable')
  return id
}

/** Postgres takes neither NUL nor half a surrogate pair, and a client may send both. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

function clean(text: string, maxLength: number): string {
  return text.slice(0, maxLength).toWellFormed().replaceAll('\0', '\ufffd')
}

function cleanOrNull(text: string | null, maxLength: number): string | null {
  return text === null ? null : clean(text, maxLength)
}

function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}

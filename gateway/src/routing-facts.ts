// What the router needs to know of a request, read from its fields and headers: priority, whose share
// it takes, whether its data must stay local, how long it may wait, how large it is.
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { PenstockConfig } from '@penstock/shared/config/config'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type RequestEnvelope, ranks } from '@penstock/shared/contracts/request'
import type { Identity } from './auth.ts'
import { endUserOf } from './client-texts.ts'
import type { KnownFields } from './schemas.ts'

export type RoutingFacts = Pick<
  RequestEnvelope,
  | 'rank'
  | 'sharer'
  | 'weight'
  | 'local'
  | 'maxQueueWaitMs'
  | 'promptTokens'
  | 'maxTokens'
  | 'prefixes'
>

/** How far LiteLLM's `priority` number can shift a request within its class. */
const maxShift = 400
const maxPrefixes = 64

/** @throws PenstockError `invalid_request` naming the header */
export function routingFacts(
  req: Pick<IncomingMessage, 'headers'>,
  request: KnownFields,
  identity: Identity,
  { router, requestTimeoutMs }: PenstockConfig,
): RoutingFacts {
  return {
    rank: rankOf(request),
    sharer: sharerOf(req, request, identity),
    weight: 1,
    local: mustStayLocal(req, request),
    maxQueueWaitMs: maxQueueWait(req, requestTimeoutMs),
    promptTokens: Math.ceil(textLength(request) / 4),
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? null,
    prefixes: router.strategy === 'prefix-affinity' ? prefixesOf(request) : [],
  }
}

function rankOf({ service_tier: tier, priority }: KnownFields): number {
  const base = tier === 'priority' || tier === 'flex' ? ranks[tier] : ranks.default
  return base + Math.max(-maxShift, Math.min(maxShift, priority ?? 0))
}

function sharerOf(
  { headers }: Pick<IncomingMessage, 'headers'>,
  request: KnownFields,
  { caller }: Identity,
): string {
  if (caller.teamId !== null) return `team:${caller.teamId}`
  if (caller.keyId !== null) return `key:${caller.keyId}`
  const user = endUserOf(request, headers)
  return user === null ? 'nobody' : `user:${user}`
}

function mustStayLocal(req: Pick<IncomingMessage, 'headers'>, { metadata }: KnownFields): boolean {
  const header = req.headers['x-penstock-data']
  // A misspelt demand must not let data out: whatever is not understood is refused.
  for (const [value, param] of [
    [header, 'x-penstock-data'],
    [metadata?.data, 'metadata.data'],
  ] as const) {
    if (value === undefined || value === 'any') continue
    if (value === 'local') return true
    if (param === 'metadata.data' && typeof value !== 'string') continue
    const message = `Invalid request: ${param}: expected "local" or "any"`
    throw new PenstockError('invalid_request', message, { param })
  }
  return false
}

/** Milliseconds; nothing waits longer than until its deadline. */
function maxQueueWait(
  req: Pick<IncomingMessage, 'headers'>,
  requestTimeoutMs: number,
): number | null {
  const header = req.headers['x-penstock-max-queue-wait']
  if (header === undefined) return null
  const seconds = Number(header)
  if (Number.isFinite(seconds) && seconds > 0) {
    return Math.min(requestTimeoutMs, Math.max(1, Math.round(seconds * 1000)))
  }
  const param = 'x-penstock-max-queue-wait'
  const message = `Invalid request: ${param}: expected a number of seconds above 0`
  throw new PenstockError('invalid_request', message, { param })
}

/** Characters of text in the prompt; images and other parts do not count. */
function textLength({ messages, prompt, input, query, documents }: KnownFields): number {
  let length = 0
  for (const { content } of messages ?? []) {
    if (typeof content === 'string') length += content.length
    else if (Array.isArray(content)) {
      for (const part of content) if (typeof part.text === 'string') length += part.text.length
    }
  }
  for (const value of [prompt, input, query, documents]) {
    if (typeof value === 'string') length += value.length
    else if (Array.isArray(value)) {
      for (const one of value) length += textOrToken(one)
    }
  }
  return length
}

/** A token id counts as the four characters that it stands for. */
function textOrToken(one: unknown): number {
  if (typeof one === 'string') return one.length
  const isText = typeof one === 'object' && one !== null && 'text' in one
  return isText && typeof one.text === 'string' ? one.text.length : 4
}

/** A hash of the conversation up to each message: equal beginnings give equal first hashes. */
function prefixesOf({ messages }: KnownFields): string[] {
  const prefixes: string[] = []
  let previous = ''
  for (const message of (messages ?? []).slice(0, maxPrefixes)) {
    const hash = createHash('sha256').update(previous).update(JSON.stringify(message))
    previous = hash.digest('base64url').slice(0, 22)
    prefixes.push(previous)
  }
  return prefixes
}

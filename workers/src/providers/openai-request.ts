// A canonical request as an HTTP request to an OpenAI-compatible server: every field of the client's
// is kept, the unknown ones too; only the model, the stream options and the headers are ours.
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Operation, RoutedOperation, TextOperation } from '@penstock/shared/contracts/request'
import type { HttpRequest } from './http.ts'
import type { ProviderCall } from './provider.ts'
import { connectionParams, type Refusals, withoutRefused } from './refusals.ts'
import { isFields } from './request-fields.ts'

/** What differs between servers that speak OpenAI's API. */
export interface OpenAiDialect {
  operations: readonly TextOperation[]
  /** None by default. */
  routed?: readonly RoutedOperation[]
  /** It refuses arguments that it does not know: what was meant for the gateway is left out. */
  strict: boolean
  /** Arguments that it is known not to take. */
  refusals?: Refusals
  /** In place of `endpointUrl`. */
  url?(call: ProviderCall<Operation>, apiBase: string): string
  /** In place of the key as a bearer token; names in lower case. */
  credentials?(deployment: Deployment): Record<string, string>
  /** The model's name as this server wants it. */
  modelName?(model: string): string
  /** Of a form's lists: OpenAI's end in `[]`. */
  plainLists?: true
}

/** Behind the version, and the same wherever OpenAI's API is spoken. */
export const endpointPaths: Record<Operation, string> = {
  chat: '/chat/completions',
  completion: '/completions',
  embedding: '/embeddings',
  moderation: '/moderations',
  rerank: '/rerank',
  image: '/images/generations',
  speech: '/audio/speech',
  transcription: '/audio/transcriptions',
  translation: '/audio/translations',
}
/** 2,048 embeddings of 3,072 numbers, the most that OpenAI answers, as decimal text. */
export const maxReplyBytes = 128 * 1024 * 1024
/**
 * OpenAI's models that refuse `max_tokens` (its API reference: "deprecated … not compatible with o-series
 * models"), which other APIs' clients are bound to send, and older ones of its own do.
 */
const reasoners = /^(?:o\d|gpt-5)/
const maxUrls = 1_000
const urls = new Map<string, string>()
const headersOfDeployment = new WeakMap<Deployment, Record<string, string>>()

/** @throws PenstockError when the deployment has no usable api_base, or for a refused argument. */
export function buildRequest(call: ProviderCall<Operation>, dialect: OpenAiDialect): HttpRequest {
  return { ...addressOf(call, dialect), body: JSON.stringify(bodyFor(call, dialect)) }
}

/** All but the body. @throws as `buildRequest` */
export function addressOf(
  call: ProviderCall<Operation>,
  dialect: OpenAiDialect,
): Omit<HttpRequest, 'body'> {
  const apiBase = apiBaseOf(call.deployment)
  return {
    url: dialect.url?.(call, apiBase) ?? endpointUrl(apiBase, call.operation),
    headers: headersFor(call.deployment, dialect.credentials),
    signal: call.signal,
  }
}

/** @throws PenstockError `upstream_unreachable` when the deployment has none */
export function apiBaseOf({ apiBase }: Deployment): string {
  if (apiBase !== null) return apiBase
  throw new PenstockError('upstream_unreachable', 'The deployment has no api_base.')
}

/**
 * `api_base` as users write it: with or without a closing slash, with a whole endpoint at its end, or
 * only an origin, which then gets `/v1`. Its query is kept.
 * @param path of the endpoint; the operation's own by default
 */
export function endpointUrl(
  apiBase: string,
  operation: Operation,
  path: string = endpointPaths[operation],
): string {
  const key = `${path} ${apiBase}`
  const known = urls.get(key)
  if (known !== undefined) return known
  const { url, base } = splitApiBase(apiBase)
  url.pathname = `${base}${path}`
  if (urls.size >= maxUrls) urls.clear()
  urls.set(key, url.href)
  return url.href
}

/** The URL, and its path without an endpoint at its end; `/v1` where it is only an origin. */
export function splitApiBase(apiBase: string): { url: URL; base: string } {
  const url = URL.parse(apiBase)
  if (url === null) {
    throw new PenstockError('upstream_unreachable', "The deployment's api_base is not a URL.")
  }
  const written = url.pathname.replace(/\/+$/, '')
  const base = written.replace(/\/(?:chat\/completions|(?:fim\/)?completions|embeddings)$/, '')
  return { url, base: written === '' ? '/v1' : base }
}

/** @throws PenstockError for a refused argument */
export function bodyFor(
  call: ProviderCall<Operation>,
  dialect: OpenAiDialect,
): Record<string, unknown> {
  const wanted = dialect.refusals === undefined ? call.body : withoutRefused(call, dialect.refusals)
  // LiteLLM's `priority` number is for our queue, its `cache` for the gateway's. A vLLM without priority
  // scheduling refuses the first; whoever runs one with it says so in `extra_body`.
  const { extra_body: extra, priority: _queue, cache: _cache, ...fields } = wanted
  // LiteLLM's `extra_body`, as in the SDKs: its fields belong at the top of the body. They are meant
  // for the upstream, whatever their names.
  const body: Record<string, unknown> = {
    ...(dialect.strict ? withoutGatewayFields(call.operation, fields) : fields),
    ...(isFields(extra) ? extra : {}),
  }
  body.model = dialect.modelName?.(call.model) ?? call.model
  if (dialect.strict && reasoners.test(call.deployment.baseModel ?? call.model)) renameLimit(body)
  if (call.stream) {
    const options = body.stream_options
    body.stream = true
    body.stream_options = { ...(isFields(options) ? options : {}), include_usage: true }
  } else {
    // A default of the config must not make a stream of it; and alone OpenAI refuses the options.
    delete body.stream
    delete body.stream_options
  }
  for (const name of connectionParams) delete body[name]
  for (const name of call.deployment.additionalDropParams) delete body[name]
  return body
}

function renameLimit(body: Record<string, unknown>): void {
  const { max_tokens: limit } = body
  if (limit === undefined) return
  body.max_completion_tokens ??= limit
  delete body.max_tokens
}

/**
 * Without what the gateway reads of `metadata`. Of the rest OpenAI takes text, with chats only (its API
 * reference, `metadata`).
 */
export function withoutGatewayFields(
  operation: Operation,
  { metadata, ...fields }: Record<string, unknown>,
): Record<string, unknown> {
  if (operation !== 'chat' || !isFields(metadata)) return fields
  const { tags: _tags, data: _data, session_id: _session, ...rest } = metadata
  const texts = Object.entries(rest).filter(([, value]) => typeof value === 'string')
  return texts.length === 0 ? fields : { ...fields, metadata: Object.fromEntries(texts) }
}

/** Names in lower case, so that a configured `Authorization` replaces ours. */
export function headersFor(
  deployment: Deployment,
  credentials: (deployment: Deployment) => Record<string, string> = bearer,
): Record<string, string> {
  const known = headersOfDeployment.get(deployment)
  if (known !== undefined) return known
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'user-agent': 'penstock',
    ...credentials(deployment),
  }
  if (deployment.organization !== null) headers['openai-organization'] = deployment.organization
  for (const [name, value] of Object.entries(deployment.extraHeaders)) {
    headers[name.toLowerCase()] = value
  }
  headersOfDeployment.set(deployment, headers)
  return headers
}

function bearer({ apiKey }: Deployment): Record<string, string> {
  return apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }
}

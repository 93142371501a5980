// A canonical chat request as one to Anthropic's Messages API (docs: api/messages).
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { calledTools, conversationOf, lacksThinking } from './anthropic-messages.ts'
import { type ClaudeTraits, claudeTraits } from './anthropic-models.ts'
import { strictSchema } from './anthropic-schema.ts'
import {
  budgetOf,
  isThinking,
  refusalsOf,
  type Thinking,
  thinkingFor,
} from './anthropic-thinking.ts'
import { jsonToolFields, type ToolFields, toolFields } from './anthropic-tools.ts'
import {
  type Body,
  effortOf,
  type JsonFormat,
  jsonFormatOf,
  mappedFields,
  maxTokensOf,
  stopsOf,
  wantedBody,
  without,
} from './canonical-parameters.ts'
import type { HttpRequest } from './http.ts'
import type { NativeCall, ProviderCall } from './provider.ts'
import { isFields } from './request-fields.ts'

/** `max_tokens` is required there; the default is LiteLLM's. */
const defaultMaxTokens = 4_096
// 2026-10-21 has no `temperature` any more, which OpenAI's clients send and older models take.
const apiVersion = '2023-06-01'

/** What is not here is Anthropic's own (`top_k`, `speed`) and passed as it is. */
const mapped = new Set([...mappedFields, 'anthropic_beta', 'output_config'])

/** Parameters of a config that mean the same in both forms. */
const shared = new Set([
  'context_management',
  'max_tokens',
  'output_config',
  'speed',
  'stop_sequences',
  'temperature',
  'thinking',
  'top_k',
  'top_p',
])

/**
 * @throws PenstockError `invalid_request`, `unsupported_parameter`; `upstream_unreachable` when the
 *   deployment has no usable api_base.
 */
export function anthropicRequest(call: ProviderCall): HttpRequest {
  return {
    url: messagesUrl(call.deployment.apiBase),
    headers: headersOf(call.deployment, call.body.anthropic_beta),
    body: JSON.stringify(anthropicBody(call)),
    signal: call.signal,
  }
}

/**
 * A request that its client wrote for this API: only the model is ours, and what the deployment adds or
 * drops. The client's version of the API and its betas count beside the deployment's.
 * @throws PenstockError `upstream_unreachable` when the deployment has no usable api_base
 */
export function nativeRequest(call: ProviderCall, { headers }: NativeCall): HttpRequest {
  const { deployment, body: sent, model, stream, signal } = call
  // LiteLLM's `priority` is for our queue.
  const { metadata, priority: _queue, ...fields } = { ...nativeDefaults(deployment), ...sent }
  const userId = isFields(metadata) ? metadata.user_id : undefined
  const body: Body = {
    ...fields,
    ...(userId === undefined ? {} : { metadata: { user_id: userId } }),
    model,
    stream,
  }
  for (const name of deployment.additionalDropParams) delete body[name]
  return {
    url: messagesUrl(deployment.apiBase),
    headers: headersOf(deployment, headers['anthropic-beta'], headers['anthropic-version']),
    body: JSON.stringify(body),
    signal,
  }
}

/** The config's defaults have OpenAI's names: those that this API has too. */
function nativeDefaults({ defaults }: Deployment): Body {
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => shared.has(name)))
}

export function anthropicBody(call: ProviderCall): Body {
  const traits = claudeTraits(call.deployment.baseModel ?? call.model)
  const { body, extra } = wantedBody(call, refusalsOf(traits, traits.thinking !== 'never'))
  const { system, messages } = conversationOf(body.messages)
  const limit = maxTokensOf(body)
  const request = {
    given: body.thinking,
    effort: effortOf(body),
    maxTokens: limit,
    lacksThinking: lacksThinking(messages),
  }
  const thinking = thinkingFor(request, traits)
  const tools = toolFields(body, calledTools(messages), traits.schemas)
  const stops = stopsOf(body)
  const userId = userIdOf(body)
  return {
    ...without(body, mapped),
    model: call.model,
    max_tokens: limit ?? budgetOf(thinking) + defaultMaxTokens,
    ...(system.length === 0 ? {} : { system }),
    messages,
    ...(stops.length === 0 ? {} : { stop_sequences: stops }),
    ...(thinking.config === null ? {} : { thinking: thinking.config }),
    ...outputOf(call, body, tools, thinking, traits),
    ...(userId === null ? {} : { metadata: { user_id: userId } }),
    // OpenAI's other tiers are for our own queue.
    ...(body.service_tier === 'standard_only' ? { service_tier: 'standard_only' } : {}),
    stream: call.stream,
    ...extra,
  }
}

/** The tools, and the form of the answer: `output_config`, or else the stand-in tool. */
function outputOf(
  call: ProviderCall,
  body: Body,
  tools: ToolFields,
  thinking: Thinking,
  traits: ClaudeTraits,
): Body {
  const given = isFields(body.output_config) ? body.output_config : {}
  const config = { ...(thinking.effort === null ? {} : { effort: thinking.effort }), ...given }
  const fields = (more: Body) => {
    const all = { ...config, ...more }
    return Object.keys(all).length === 0 ? {} : { output_config: all }
  }
  const format = jsonFormatOf(body)
  if (format === null) return { ...tools, ...fields({}) }
  const schema = traits.schemas && format.schema !== null ? strictSchema(format.schema) : null
  if (schema !== null) return { ...tools, ...fields({ format: { type: 'json_schema', schema } }) }
  return { ...standIn(call, format, tools, isThinking(thinking)), ...fields({}) }
}

function standIn(call: ProviderCall, format: JsonFormat, tools: ToolFields, thinks: boolean) {
  if (tools.tools === undefined) return jsonToolFields(format, thinks)
  if (call.deployment.dropParams) return tools
  const message =
    'This JSON answer cannot be combined with tools on this model: use a strict JSON schema and Claude 4.5 or newer.'
  throw new PenstockError('unsupported_parameter', message, { param: 'response_format' })
}

/** Anthropic wants no names, e-mail addresses or telephone numbers there (Metadata.user_id). */
function userIdOf({ metadata, user }: Body): string | null {
  const id = isFields(metadata) && metadata.user_id !== undefined ? metadata.user_id : user
  if (typeof id !== 'string' || id === '') return null
  return id.includes('@') || /^\+?[\d\s().-]{7,}$/.test(id) ? null : id
}

/** Names in lower case, so that a configured header replaces ours. */
function headersOf(
  deployment: Deployment,
  beta: unknown,
  version: string = apiVersion,
): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'user-agent': 'penstock',
    'anthropic-version': isText(version) ? version : apiVersion,
  }
  if (deployment.apiKey !== null) headers['x-api-key'] = deployment.apiKey
  for (const [name, value] of Object.entries(deployment.extraHeaders)) {
    headers[name.toLowerCase()] = value
  }
  const betas = [headers['anthropic-beta'], beta].flat().filter(isText)
  if (betas.length > 0) headers['anthropic-beta'] = betas.join(',')
  return headers
}

/** Names of betas go into a header: nothing but what may stand there. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.,\- ]+$/.test(value)
}

/** `api_base` with or without `/v1` and the endpoint at its end. Its query is kept. */
function messagesUrl(apiBase: string | null): string {
  const url = URL.parse(apiBase ?? '')
  if (url === null) {
    throw new PenstockError('upstream_unreachable', "The deployment's api_base is not a URL.")
  }
  const base = url.pathname.replace(/\/+$/, '').replace(/\/messages$/, '')
  url.pathname = `${base.replace(/\/v1$/, '')}/v1/messages`
  return url.href
}

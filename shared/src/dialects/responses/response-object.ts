// The response object of OpenAI's API reference: what was asked, echoed, and what became of it.
import { type ErrorInfo, errorKinds } from '../../contracts/errors.ts'
import type { TokenUsage } from '../../contracts/usage.ts'
import type { Fields } from '../dialect.ts'
import type { ResponsesRequest } from './request.ts'

export type ResponseStatus =
  | 'queued'
  | 'in_progress'
  | 'completed'
  | 'incomplete'
  | 'failed'
  | 'cancelled'

/** The part that does not change while the response is made. */
export interface Asked {
  id: string
  /** Epoch seconds. */
  createdAt: number
  request: ResponsesRequest
}

export interface Became {
  status: ResponseStatus
  /** As the upstream calls it, once it is known. */
  model?: string | null
  output?: Fields[]
  usage?: Fields | null
  error?: ErrorInfo | null
  /** Why it is incomplete. */
  reason?: string | null
}

export function responseObject({ id, createdAt, request }: Asked, became: Became): Fields {
  const { status, model, output = [], usage = null, error = null, reason = null } = became
  return {
    id,
    object: 'response',
    created_at: createdAt,
    status,
    background: request.background ?? false,
    completed_at: status === 'completed' ? Math.floor(Date.now() / 1000) : null,
    error: error === null ? null : { code: failureCode(error), message: error.message },
    incomplete_details: reason === null ? null : { reason },
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: request.max_tool_calls ?? null,
    metadata: request.metadata ?? {},
    model: model || request.model,
    output,
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: request.previous_response_id ?? null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    reasoning: {
      effort: request.reasoning?.effort ?? null,
      summary: request.reasoning?.summary ?? null,
    },
    safety_identifier: request.safety_identifier ?? null,
    service_tier: request.service_tier ?? 'default',
    store: request.store ?? true,
    temperature: request.temperature ?? 1,
    text: {
      format: request.text?.format ?? { type: 'text' },
      ...(request.text?.verbosity ? { verbosity: request.text.verbosity } : {}),
    },
    tool_choice: request.tool_choice ?? 'auto',
    tools: request.tools ?? [],
    top_logprobs: request.top_logprobs ?? 0,
    top_p: request.top_p ?? 1,
    truncation: request.truncation ?? 'disabled',
    usage,
    user: request.user ?? null,
  }
}

/** Of the codes that the API reference lists, those that say something of a model's failure. */
function failureCode({ code }: ErrorInfo): string {
  if (errorKinds[code].status === 429) return 'rate_limit_exceeded'
  return errorKinds[code].status < 500 ? 'invalid_prompt' : 'server_error'
}

export function usageObject(usage: TokenUsage): Fields {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: {
      cached_tokens: usage.cachedPromptTokens,
      cache_write_tokens: usage.cacheWriteTokens,
    },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.promptTokens + usage.completionTokens,
  }
}

/** Why an answer with this finish reason is no complete one; null: it is. */
export function incompleteReason(finish: string | null): string | null {
  if (finish === 'length') return 'max_output_tokens'
  return finish === 'content_filter' ? 'content_filter' : null
}

// What Mistral's API refuses, as its schema says (docs.mistral.ai, openapi.yaml: additionalProperties
// is false nearly everywhere) and as its users post it.
import type { StatusFault } from './openai-behaviour.ts'
import type { UpstreamCall } from './upstream-server.ts'

type Fields = Record<string, unknown>

const words = (text: string) => new Set(text.trim().split(/\s+/))
const sampling = 'model temperature top_p max_tokens stream stop random_seed metadata'
const known: Record<string, ReadonlySet<string>> = {
  '/v1/chat/completions': words(`${sampling} messages response_format tools tool_choice guardrails n
    presence_penalty frequency_penalty prediction parallel_tool_calls prompt_mode reasoning_effort
    prompt_cache_key safe_prompt`),
  '/v1/fim/completions': words(`${sampling} prompt suffix min_tokens prompt_cache_key`),
  '/v1/embeddings': words('model metadata input output_dimension output_dtype encoding_format'),
}
const knownInMessage: Record<string, ReadonlySet<string>> = {
  system: words('role content'),
  user: words('role content'),
  assistant: words('role content tool_calls prefix'),
  tool: words('role content tool_call_id name'),
}

/** An error reply in Mistral's form ("Error glossary"). */
export function mistralFailure(
  status: number,
  type: string,
  message: unknown,
  code: string | null = null,
): StatusFault {
  const body = JSON.stringify({ object: 'error', message, type, param: null, code })
  return { kind: 'status', status, body, headers: {} }
}

export function refusalOf(call: UpstreamCall, apiKey: string | undefined): StatusFault | null {
  const { path, body, headers } = call
  if (apiKey !== undefined && headers.authorization !== `Bearer ${apiKey}`) {
    return { kind: 'status', status: 401, body: '{"detail":"Unauthorized"}', headers: {} }
  }
  const allowed = known[path]
  if (allowed === undefined) return mistralFailure(404, 'not_found', 'no Route matched')
  const extra = [...unknownIn(body, allowed, ['body']), ...unknownInMessages(body.messages)]
  if (extra.length > 0) {
    return mistralFailure(422, 'invalid_request_error', { detail: extra })
  }
  const odd = callIds(body.messages).find((id) => !/^[a-zA-Z0-9]{9}$/.test(id))
  if (odd !== undefined) {
    const message = `Tool call id was ${odd} but must be a-z, A-Z, 0-9, with a length of 9.`
    return mistralFailure(400, 'invalid_function_call', message, '3280')
  }
  const last = listOf(body.messages).at(-1)
  if (last?.role === 'assistant' && last.prefix !== true) {
    const message = 'Expected last role User or Tool (or Assistant with prefix True) for serving'
    return mistralFailure(400, 'invalid_request_message_order', message, '3230')
  }
  return null
}

function unknownIn(fields: Fields, allowed: ReadonlySet<string>, loc: (string | number)[]) {
  return Object.keys(fields)
    .filter((name) => !allowed.has(name))
    .map((name) => ({
      type: 'extra_forbidden',
      loc: [...loc, name],
      msg: 'Extra inputs are not permitted',
    }))
}

function unknownInMessages(messages: unknown) {
  return listOf(messages).flatMap((message, index) => {
    const role = String(message.role)
    const allowed = knownInMessage[role] ?? new Set()
    return unknownIn(message, allowed, ['body', 'messages', index, role])
  })
}

function callIds(messages: unknown): string[] {
  return listOf(messages).flatMap(({ tool_calls: calls, tool_call_id: id }) => [
    ...listOf(calls).map((call) => String(call.id)),
    ...(typeof id === 'string' ? [id] : []),
  ])
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value : []
}

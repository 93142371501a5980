// /api/chat: the request from an OpenAI chat request, the reply and the stream back into OpenAI's
// chat.completion and chat.completion.chunk.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { createdNow, newId } from './answer-head.ts'
import {
  type EndpointCall,
  finishReason,
  parseReply,
  type Translate,
  unexpected,
} from './ollama-endpoint.ts'
import { ollamaMessages } from './ollama-messages.ts'
import { mapParameters, type ParameterRules } from './ollama-parameters.ts'
import type { StreamLine } from './ollama-stream.ts'
import { openaiUsage, usageOf } from './ollama-usage.ts'
import type { ProviderCall } from './provider.ts'
import { parseField } from './request-fields.ts'

const rules: ParameterRules = {
  own: new Set(['messages', 'tools', 'tool_choice']),
  native: new Set([
    'format',
    'keep_alive',
    'logprobs',
    'shift',
    'think',
    'top_logprobs',
    'truncate',
  ]),
  refused: new Map(),
}

const tools = z.array(z.looseObject({ type: z.string() }))
const toolCalls = z
  .array(
    z.object({
      id: z.string().nullish(),
      function: z.object({ name: z.string(), arguments: z.unknown().optional() }),
    }),
  )
  .nullish()
const chatReply = z.object({
  message: z.object({
    content: z.string().nullish(),
    thinking: z.string().nullish(),
    tool_calls: toolCalls,
  }),
  done: z.literal(true),
  done_reason: z.unknown().optional(),
  logprobs: z.array(z.unknown()).nullish(),
  prompt_eval_count: z.unknown().optional(),
  eval_count: z.unknown().optional(),
})

/** @throws PenstockError `invalid_request`, `unsupported_parameter` */
export function chatCall(call: ProviderCall): EndpointCall {
  const { body, fields } = mapParameters(call, rules)
  const offered = offeredTools(body)
  return {
    path: '/api/chat',
    request: {
      model: call.model,
      messages: ollamaMessages(body.messages),
      ...(offered === null ? {} : { tools: offered }),
      ...fields,
      stream: call.stream,
    },
    reply: (parsed) => chatCompletion(parsed, call.model),
    stream: () => chatChunks(call.model, call.includeUsage),
  }
}

function offeredTools(body: Record<string, unknown>): unknown[] | null {
  if (body.tools === undefined || body.tool_choice === 'none') return null
  const offered = parseField(tools, body.tools, 'tools')
  const foreign = offered.findIndex(({ type }) => type !== 'function')
  if (foreign >= 0) {
    const param = `tools[${foreign}].type`
    throw new PenstockError('unsupported_parameter', 'Ollama takes function tools only.', { param })
  }
  return offered.length > 0 ? offered : null
}

function chatCompletion(parsed: unknown, model: string) {
  const reply = parseReply(chatReply, parsed)
  const { content, thinking, tool_calls: called } = reply.message
  const calls = openaiToolCalls(called, 0).map(({ index: _, ...rest }) => rest)
  const usage = usageOf(reply)
  const body = {
    id: newId('chatcmpl-'),
    object: 'chat.completion',
    created: createdNow(),
    model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: content || (calls.length > 0 ? null : ''),
          ...(thinking ? { reasoning_content: thinking } : {}),
          ...(calls.length > 0 ? { tool_calls: calls } : {}),
        },
        logprobs: reply.logprobs?.length ? { content: reply.logprobs } : null,
        finish_reason: finishReason(reply.done_reason, calls.length > 0),
      },
    ],
    ...(usage === null ? {} : { usage: openaiUsage(usage) }),
  }
  return { body, usage }
}

/**
 * The translator of one stream. Its first chunk says the role; it goes out with the first token, so
 * that a failure before it keeps its HTTP status. A chunk's fixed parts are serialized once.
 */
function chatChunks(model: string, includeUsage: boolean): Translate {
  const id = newId('chatcmpl-')
  const chunk = { id, object: 'chat.completion.chunk', created: createdNow(), model }
  const head = `data: ${JSON.stringify(chunk).slice(0, -1)},"choices":[`
  const event = (delta: string, logprobs: string, finish: string) =>
    `${head}{"index":0,"delta":${delta}${logprobs},"finish_reason":${finish}}]}\n\n`
  let begun = false
  let calls = 0

  return (line) => {
    const { delta, toolCalls: called } = deltaOf(line, calls)
    calls += called
    const logprobs = logprobsOf(line)
    const says = delta !== '' || logprobs !== ''
    let events = ''
    if (!begun && (says || line.done === true)) {
      begun = true
      events = event('{"role":"assistant","content":""}', '', 'null')
    }
    if (says) events += event(delta || '{}', logprobs, 'null')
    if (line.done !== true) return events
    events += event('{}', '', JSON.stringify(finishReason(line.done_reason, calls > 0)))
    const usage = includeUsage ? usageOf(line) : null
    return usage === null
      ? events
      : `${events}${head}],"usage":${JSON.stringify(openaiUsage(usage))}}\n\n`
  }
}

/** The delta's JSON, '' where the line adds nothing. Checked by hand: this runs for every token. */
function deltaOf(line: StreamLine, callsBefore: number): { delta: string; toolCalls: number } {
  const message = line.message
  // The documented last line of a stream may come without a message.
  if (message === undefined && line.done === true) return { delta: '', toolCalls: 0 }
  if (typeof message !== 'object' || message === null) throw unexpected('a line without a message')
  const content = textOf(message, 'content')
  const thinking = textOf(message, 'thinking')
  const called = 'tool_calls' in message ? message.tool_calls : undefined
  if (thinking === '' && called === undefined) {
    return { delta: content === '' ? '' : `{"content":${JSON.stringify(content)}}`, toolCalls: 0 }
  }
  const calls = openaiToolCalls(parseReply(toolCalls, called), callsBefore)
  const delta = {
    ...(thinking === '' ? {} : { reasoning_content: thinking }),
    ...(content === '' ? {} : { content }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
  const json = JSON.stringify(delta)
  return { delta: json === '{}' ? '' : json, toolCalls: calls.length }
}

function textOf(message: object, field: 'content' | 'thinking'): string {
  const value = (message as Record<string, unknown>)[field]
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  throw unexpected(`a line whose ${field} is not text`)
}

function logprobsOf(line: StreamLine): string {
  if (!Array.isArray(line.logprobs) || line.logprobs.length === 0) return ''
  return `,"logprobs":${JSON.stringify({ content: line.logprobs })}`
}

/** Ollama sends each call whole; `index` counts on through the stream, since its own may repeat. */
function openaiToolCalls(called: z.infer<typeof toolCalls>, before: number) {
  return (called ?? []).map(({ id, function: { name, arguments: given } }, position) => ({
    index: before + position,
    id: id || newId('call_'),
    type: 'function',
    function: { name, arguments: typeof given === 'string' ? given : JSON.stringify(given ?? {}) },
  }))
}

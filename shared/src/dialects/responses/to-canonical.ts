// A Responses request as a chat completion: fields, tools and the form of the answer. What only the
// gateway acts on (`store`, `background`, `previous_response_id`) has no part in it.
import { PenstockError } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'
import { type ResponsesRequest, responsesRequest } from './request.ts'
import { messagesOf } from './to-messages.ts'

const known = new Set(Object.keys(responsesRequest.shape))
/** They are the same in both APIs. */
const shared = [
  'model',
  'stream',
  'temperature',
  'top_p',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'service_tier',
  'priority',
  'parallel_tool_calls',
] as const

/**
 * What is unknown to both goes on as it is: it may mean something to an upstream.
 * @throws PenstockError `invalid_request` with the param, for what no chat completion can carry
 */
export function canonicalOf(request: ResponsesRequest): Fields {
  const { instructions, input, max_output_tokens: maxTokens, reasoning, text } = request
  const system = instructions ? [{ role: 'system', content: instructions }] : []
  const body: Fields = { model: request.model, messages: [...system, ...messagesOf(input)] }
  if (input.length === 0) {
    const message = 'Invalid request: input: expected a string or at least one item'
    throw new PenstockError('invalid_request', message, { param: 'input' })
  }
  for (const name of shared) if (isGiven(request[name])) body[name] = request[name]
  if (isGiven(maxTokens)) body.max_completion_tokens = maxTokens
  if (isGiven(reasoning?.effort)) body.reasoning_effort = reasoning.effort
  if (isGiven(text?.verbosity)) body.verbosity = text.verbosity
  if (request.include?.includes('message.output_text.logprobs')) {
    body.logprobs = true
    if (isGiven(request.top_logprobs)) body.top_logprobs = request.top_logprobs
  }
  const format = formatOf(request)
  if (format !== null) body.response_format = format
  Object.assign(body, toolsOf(request))
  for (const [name, value] of Object.entries(request)) if (!known.has(name)) body[name] = value
  return body
}

function isGiven<T>(value: T): value is NonNullable<T> {
  return value !== null && value !== undefined
}

function formatOf({ text }: ResponsesRequest): Fields | null {
  const format = text?.format
  if (!isGiven(format) || format.type === 'text') return null
  if (format.type === 'json_object') return { type: 'json_object' }
  const { name, schema, description, strict } = format
  return {
    type: 'json_schema',
    json_schema: {
      name,
      schema,
      ...(isGiven(description) ? { description } : {}),
      ...(isGiven(strict) ? { strict } : {}),
    },
  }
}

function toolsOf({ tools, tool_choice: choice }: ResponsesRequest): Fields {
  if (!isGiven(tools) || tools.length === 0) return {}
  const isSubset = isObject(choice) && choice.type === 'allowed_tools'
  const names = isSubset ? new Set(choice.tools.map(({ name }) => name)) : null
  const offered = tools.filter(({ name }) => names === null || names.has(name))
  return {
    tools: offered.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(isGiven(description) ? { description } : {}),
        ...(isGiven(parameters) ? { parameters } : {}),
        ...(isGiven(strict) ? { strict } : {}),
      },
    })),
    ...(isGiven(choice) ? { tool_choice: choiceOf(choice) } : {}),
  }
}

function choiceOf(choice: NonNullable<ResponsesRequest['tool_choice']>): unknown {
  if (!isObject(choice)) return choice
  if (choice.type === 'allowed_tools') return choice.mode
  return { type: 'function', function: { name: choice.name } }
}

function isObject<T>(value: T): value is T & object {
  return typeof value === 'object' && value !== null
}

// OpenAI's tools, the choice among them and JSON answers as Anthropic's.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { strictSchema } from './anthropic-schema.ts'
import { jsonTool } from './canonical-answer.ts'
import type { Body, JsonFormat } from './canonical-parameters.ts'
import { isFields, parseField } from './request-fields.ts'

export interface ToolFields {
  tools?: Body[]
  tool_choice?: Body
}

const functionTool = z.looseObject({
  function: z.object({
    name: z.string(),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
})
const tools = z.array(z.looseObject({ type: z.string().default('custom') }))
const toolChoice = z.union([
  z.enum(['auto', 'none', 'required']),
  z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
])

export type OpenAiTool = z.infer<typeof functionTool>
export type OpenAiToolChoice = z.infer<typeof toolChoice>

const anyObject = { type: 'object', properties: {} }

/**
 * `called` are the tools that the conversation calls: Anthropic wants them defined, where an OpenAI
 * client may leave its tools out of a last request.
 */
export function toolFields(body: Body, called: ReadonlySet<string>, schemas: boolean): ToolFields {
  const defined = body.tools === undefined ? [] : parseField(tools, body.tools, 'tools')
  if (defined.length === 0) {
    if (called.size === 0) return {}
    const stubs = [...called].map((name) => ({ name, input_schema: anyObject }))
    return { tools: stubs, tool_choice: { type: 'none' } }
  }
  const mapped = defined.map((tool, index) => anthropicTool(tool, `tools[${index}]`, schemas))
  const choice = choiceOf(body)
  return { tools: mapped, ...(choice === null ? {} : { tool_choice: choice }) }
}

/**
 * A tool whose input is the JSON answer, for models that keep to no schema and for schemas that they
 * cannot keep to. A model that thinks may not be forced to call it.
 */
export function jsonToolFields(format: JsonFormat, thinks: boolean): ToolFields {
  const description = format.description ?? 'Gives the answer to the user as JSON.'
  return {
    tools: [{ name: jsonTool, description, input_schema: format.schema ?? anyObject }],
    tool_choice: thinks ? { type: 'auto' } : { type: 'tool', name: jsonTool },
  }
}

/** @throws PenstockError `invalid_request` */
export function openAiTool(tool: unknown, place: string): OpenAiTool {
  return parseField(functionTool, tool, place)
}

/** Null: not said. @throws PenstockError `invalid_request` */
export function openAiToolChoice(body: Body): OpenAiToolChoice | null {
  return body.tool_choice === undefined
    ? null
    : parseField(toolChoice, body.tool_choice, 'tool_choice')
}

function anthropicTool(tool: z.infer<typeof tools>[number], place: string, schemas: boolean): Body {
  if (tool.type !== 'function') {
    // Anthropic's own form and its server tools (`web_search_20250305`), which have a name on top.
    if (typeof tool.name === 'string') return withoutDefaultType(tool)
    const param = `${place}.type`
    const message = `Anthropic does not take tools of the type '${tool.type}' in this form.`
    throw new PenstockError('unsupported_parameter', message, { param })
  }
  const parsed = openAiTool(tool, place)
  const { name, description, parameters, strict } = parsed.function
  const exact = strict && schemas && parameters ? strictSchema(parameters) : null
  const cache = tool.cache_control ?? (isFields(tool.function) && tool.function.cache_control)
  return {
    name,
    ...(description ? { description } : {}),
    input_schema: exact ?? { ...anyObject, ...parameters },
    ...(exact === null ? {} : { strict: true }),
    ...(cache ? { cache_control: cache } : {}),
  }
}

function withoutDefaultType(tool: Body): Body {
  const { type, ...rest } = tool
  return type === 'custom' ? rest : { type, ...rest }
}

function choiceOf(body: Body): Body | null {
  const oneByOne = body.parallel_tool_calls === false ? { disable_parallel_tool_use: true } : {}
  const choice = openAiToolChoice(body)
  if (choice === null) {
    return body.parallel_tool_calls === false ? { type: 'auto', ...oneByOne } : null
  }
  if (choice === 'none') return { type: 'none' }
  if (choice === 'auto') return { type: 'auto', ...oneByOne }
  if (choice === 'required') return { type: 'any', ...oneByOne }
  return { type: 'tool', name: choice.function.name, ...oneByOne }
}

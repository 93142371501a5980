// OpenAI's tools, the choice among them and JSON answers as Converse's ToolConfiguration.
import type { Tool, ToolConfiguration } from '@aws-sdk/client-bedrock-runtime'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { strictSchema } from './anthropic-schema.ts'
import { isThinking, type Thinking } from './anthropic-thinking.ts'
import { jsonToolFields, openAiTool, openAiToolChoice } from './anthropic-tools.ts'
import { cachePointOf } from './bedrock-messages.ts'
import type { BedrockTraits } from './bedrock-models.ts'
import type { Body, JsonFormat } from './canonical-parameters.ts'
import type { ProviderCall } from './provider.ts'
import { isFields, parseField } from './request-fields.ts'

const tools = z.array(z.looseObject({}))
const anyObject = { type: 'object', properties: {} }
const anySchema = { json: anyObject }

/**
 * Converse wants the tools of a conversation's calls defined, and has no way to forbid a call:
 * with a choice of `none` they are offered only where the conversation needs them.
 */
export function toolConfig(
  body: Body,
  called: ReadonlySet<string>,
  traits: BedrockTraits,
): ToolConfiguration | null {
  const choice = openAiToolChoice(body)
  const given = body.tools === undefined ? [] : parseField(tools, body.tools, 'tools')
  const offered = given.flatMap((tool, index) => bedrockTools(tool, `tools[${index}]`, traits))
  if (offered.length === 0 || choice === 'none') {
    if (called.size === 0) return null
    if (offered.length > 0) return { tools: offered }
    return { tools: [...called].map((name) => ({ toolSpec: { name, inputSchema: anySchema } })) }
  }
  if (choice === null) return { tools: offered }
  if (choice === 'auto') return { tools: offered, toolChoice: { auto: {} } }
  if (choice === 'required') return { tools: offered, toolChoice: { any: {} } }
  return { tools: offered, toolChoice: { tool: { name: choice.function.name } } }
}

function bedrockTools(tool: Body, place: string, traits: BedrockTraits): Tool[] {
  // Converse's own form, for cache points and system tools.
  if ('toolSpec' in tool || 'cachePoint' in tool || 'systemTool' in tool)
    return [tool as unknown as Tool]
  if (tool.type !== 'function') {
    const param = `${place}.type`
    const message = 'Bedrock takes function tools only.'
    throw new PenstockError('unsupported_parameter', message, { param })
  }
  const { name, description, parameters, strict } = openAiTool(tool, place).function
  const exact = strict && traits.schemas && parameters ? strictSchema(parameters) : null
  const toolSpec = {
    name,
    ...(description ? { description } : {}),
    inputSchema: { json: exact ?? { ...anyObject, ...parameters } },
    ...(exact === null ? {} : { strict: true }),
  }
  const cache = tool.cache_control ?? (isFields(tool.function) ? tool.function.cache_control : null)
  return [{ toolSpec } as Tool, ...(cachePointOf(cache) as Tool[])]
}

/** The stand-in tool for a JSON answer, where the model keeps to no schema. */
export function standIn(
  call: ProviderCall,
  format: JsonFormat,
  tooling: ToolConfiguration | null,
  thinking: Thinking,
): ToolConfiguration | null {
  if (tooling !== null) {
    if (call.deployment.dropParams) return tooling
    const message =
      'This JSON answer cannot be combined with tools on this model: use a strict JSON schema and a model that keeps to one.'
    throw new PenstockError('unsupported_parameter', message, { param: 'response_format' })
  }
  const { tools: [tool] = [] } = jsonToolFields(format, isThinking(thinking))
  const { name, description, input_schema: schema } = tool ?? {}
  const toolSpec = { name, description, inputSchema: { json: schema } }
  const forced = isThinking(thinking) ? { auto: {} } : { tool: { name: String(name) } }
  return { tools: [{ toolSpec } as Tool], toolChoice: forced }
}

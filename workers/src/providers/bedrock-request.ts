// A canonical chat request as one to Bedrock's Converse or ConverseStream (Amazon Bedrock API
// Reference; the User Guide for what each maker's models want besides).
import type { ConverseCommandInput, OutputConfig } from '@aws-sdk/client-bedrock-runtime'
import { z } from 'zod'
import { strictSchema } from './anthropic-schema.ts'
import { budgetOf, refusalsOf, type Thinking, thinkingFor } from './anthropic-thinking.ts'
import { bedrockConversation, calledTools, lacksThinking } from './bedrock-messages.ts'
import { type BedrockTraits, bedrockTraits, modelId } from './bedrock-models.ts'
import { standIn, toolConfig } from './bedrock-tools.ts'
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
import type { ProviderCall } from './provider.ts'
import { isFields, parseField } from './request-fields.ts'

/** Converse's own top-level fields that a client or a deployment may set as they are. */
const native = [
  'additionalModelResponseFieldPaths',
  'guardrailConfig',
  'performanceConfig',
  'promptVariables',
  'requestMetadata',
  'serviceTier',
] as const

/** What is not here is the model's own (`top_k`). */
const mapped = new Set<string>([
  ...mappedFields,
  ...native,
  'additionalModelRequestFields',
  'temperature',
  'top_p',
])

const number = z.number()
/** Room for the answer behind a budget for thinking, where no `max_tokens` is set. */
const defaultAnswerTokens = 4_096

/** @throws PenstockError `invalid_request`, `unsupported_parameter` */
export function converseInput(call: ProviderCall): ConverseCommandInput {
  const id = modelId(call.model)
  const traits = bedrockTraits(call.deployment.baseModel ?? id)
  const { body, extra } = wantedBody(call, refusalsOf(traits, canThink(traits)))
  const { system, messages } = bedrockConversation(body.messages)
  const thinking = thinkingOf(body, lacksThinking(messages), traits)
  const format = jsonFormatOf(body)
  const schema = format?.schema && traits.schemas ? strictSchema(format.schema) : null
  const wantsStandIn = format !== null && schema === null
  const tooling = toolConfig(body, calledTools(messages), traits)
  const toolFields = wantsStandIn ? standIn(call, format, tooling, thinking) : tooling
  const output = outputConfig(format, schema, thinking)
  const additional = { ...modelFields(body, id, traits, thinking), ...extra }
  const input = {
    ...Object.fromEntries(native.flatMap((name) => (name in body ? [[name, body[name]]] : []))),
    modelId: id,
    messages,
    ...(system.length === 0 ? {} : { system }),
    ...inferenceConfig(body, thinking),
    ...(toolFields === null ? {} : { toolConfig: toolFields }),
    ...(output === null ? {} : { outputConfig: output }),
    ...(Object.keys(additional).length === 0 ? {} : { additionalModelRequestFields: additional }),
  }
  // What a client sent is JSON, which is what the SDK's DocumentType means.
  return input as ConverseCommandInput
}

/** Whether it knows any way of being told how much to think. */
function canThink({ reasoning, thinking }: BedrockTraits): boolean {
  return reasoning !== null && (reasoning !== 'claude' || thinking !== 'never')
}

function thinkingOf(body: Body, lacks: boolean, traits: BedrockTraits): Thinking {
  const given = { given: body.thinking, maxTokens: maxTokensOf(body), lacksThinking: lacks }
  const effort = traits.reasoning === 'claude' ? effortOf(body) : null
  return thinkingFor({ ...given, effort }, traits)
}

function inferenceConfig(body: Body, thinking: Thinking) {
  const budget = budgetOf(thinking)
  const limit = maxTokensOf(body) ?? (budget > 0 ? budget + defaultAnswerTokens : null)
  const stops = stopsOf(body)
  const config = {
    ...(limit === null ? {} : { maxTokens: limit }),
    ...('temperature' in body
      ? { temperature: parseField(number, body.temperature, 'temperature') }
      : {}),
    ...('top_p' in body ? { topP: parseField(number, body.top_p, 'top_p') } : {}),
    ...(stops.length === 0 ? {} : { stopSequences: stops }),
  }
  return Object.keys(config).length === 0 ? {} : { inferenceConfig: config }
}

/** What Converse passes on to the model as it is, in the way of the model's maker. */
function modelFields(body: Body, id: string, traits: BedrockTraits, thinking: Thinking): Body {
  const given = isFields(body.additionalModelRequestFields) ? body.additionalModelRequestFields : {}
  const { top_k: topK, ...rest } = withoutConnection(without(body, mapped))
  const isNova = id.includes('amazon.nova')
  const fields: Body = { ...rest }
  if (topK !== undefined && isNova) fields.inferenceConfig = { topK }
  else if (topK !== undefined) fields.top_k = topK
  const effort = effortOf(body)
  if (thinking.config !== null) fields.thinking = thinking.config
  else if (effort !== null && effort !== 'none' && traits.reasoning === 'gpt-oss') {
    fields.reasoning_effort = effortAmong(effort)
  } else if (effort !== null && effort !== 'none' && traits.reasoning === 'nova') {
    fields.reasoningConfig = { type: 'enabled', maxReasoningEffort: effortAmong(effort) }
  }
  return { ...fields, ...given }
}

/** gpt-oss and Nova know these three. */
function effortAmong(effort: string): string {
  if (effort === 'minimal') return 'low'
  return effort === 'low' || effort === 'medium' ? effort : 'high'
}

/** LiteLLM's `aws_…` parameters are settings of the deployment, and some are secrets. */
function withoutConnection(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !name.startsWith('aws_')))
}

function outputConfig(
  format: JsonFormat | null,
  schema: Body | null,
  thinking: Thinking,
): OutputConfig | null {
  const effort = thinking.effort === null ? {} : { effort: thinking.effort }
  if (format === null || schema === null) return thinking.effort === null ? null : effort
  const { name, description } = format
  const jsonSchema = {
    schema: JSON.stringify(schema),
    name,
    ...(description === undefined ? {} : { description }),
  }
  return { ...effort, textFormat: { type: 'json_schema', structure: { jsonSchema } } }
}

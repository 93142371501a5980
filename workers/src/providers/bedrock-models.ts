// What a Bedrock model's id says: which model it is, where it is asked for, and what it can do.
import { type ClaudeTraits, claudeTraits } from './anthropic-models.ts'

export interface BedrockTraits extends ClaudeTraits {
  /** Whose way of asking for reasoning; null: there is none that is known. */
  reasoning: 'claude' | 'gpt-oss' | 'nova' | null
}

/** LiteLLM's routes and regions in front of an id: `converse/…`, `us-west-2/anthropic.claude-…`. */
const routes = /^(?:converse|converse_like|invoke)\//
const region = /^([a-z]{2}(?:-[a-z]+)+-\d)\//

/** Makers of open-weight models, which all keep to schemas (User Guide, "Structured outputs"). */
const schemaMakers =
  /(?:^|\.)(?:deepseek|google|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen|zai)\./

/** The id as AWS knows it. All of LiteLLM's routes are answered by Converse. */
export function modelId(written: string): string {
  const id = written.replace(routes, '')
  return id.replace(region, '').replace(routes, '')
}

/** The region in front of the id or within its ARN; null: none. */
export function regionOf(written: string): string | null {
  const id = written.replace(routes, '')
  return region.exec(id)?.[1] ?? /^arn:[^:]+:bedrock:([a-z\d-]+):/.exec(id)?.[1] ?? null
}

/** @param model an id, or the base model's name where the id is an opaque ARN */
export function bedrockTraits(model: string): BedrockTraits {
  const claude = claudeTraits(model)
  if (/claude/i.test(model)) return { ...claude, reasoning: 'claude' }
  const reasoning = /gpt-oss/.test(model) ? 'gpt-oss' : /nova-2/.test(model) ? 'nova' : null
  return { thinking: 'never', sampling: true, schemas: schemaMakers.test(model), reasoning }
}

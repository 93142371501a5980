// How much Claude is to think: OpenAI's effort as a budget of tokens or, for newer models, as theirs.
import type { ClaudeTraits } from './anthropic-models.ts'
import type { Body } from './canonical-parameters.ts'
import { always, type Refusals, unlessOne } from './refusals.ts'
import { isFields } from './request-fields.ts'

export interface Thinking {
  /** Anthropic's `thinking`; null: none is asked for. */
  config: Body | null
  /** Anthropic's `output_config.effort`; null: its default. */
  effort: string | null
}

export interface ThinkingRequest {
  /** The client's own `thinking`, which counts before an effort. */
  given: unknown
  effort: string | null
  maxTokens: number | null
  /** The last call of tools came without its thinking. */
  lacksThinking: boolean
}

/** Tokens; the first three are LiteLLM's. The least that Anthropic takes is 1,024. */
const budgets = new Map([
  ['low', 1_024],
  ['medium', 2_048],
  ['high', 4_096],
  ['xhigh', 8_192],
  ['max', 16_384],
  ['minimal', 1_024],
])
const minBudget = 1_024
const nothing: Thinking = { config: null, effort: null }

/**
 * What a model cannot do: think by an effort that is none, and sample where its traits say so.
 * @param thinks it knows a way of being told how much to think; else it takes the effort `none` only
 */
export function refusalsOf({ sampling }: ClaudeTraits, thinks: boolean): Refusals {
  const cannotThink = (effort: unknown) =>
    effort !== 'none' && !(thinks && budgets.has(String(effort)))
  const refused = new Map([['reasoning_effort', cannotThink]])
  if (sampling) return refused
  return refused.set('temperature', unlessOne).set('top_p', unlessOne).set('top_k', always)
}

/**
 * An effort is a hint, so it gives way where Anthropic would refuse the request for it: a budget that
 * does not fit into `max_tokens`, or a conversation without the signed thinking that it must hold.
 */
export function thinkingFor(request: ThinkingRequest, traits: ClaudeTraits): Thinking {
  const { given, effort, maxTokens } = request
  if (isFields(given)) return { config: given, effort: null }
  if (effort === null || effort === 'none') return nothing
  if (traits.thinking === 'effort') {
    // From 4.7 on the text of the thinking is left out unless it is asked for.
    const config = { type: 'adaptive', display: 'summarized' }
    return { config, effort: effort === 'minimal' ? 'low' : effort }
  }
  const wanted = budgets.get(effort) ?? minBudget
  const budget = maxTokens === null ? wanted : Math.min(wanted, maxTokens - 1)
  if (budget < minBudget || request.lacksThinking) return nothing
  return { config: { type: 'enabled', budget_tokens: budget }, effort: null }
}

/** The tokens set aside for thinking, within `max_tokens`. */
export function budgetOf({ config }: Thinking): number {
  return typeof config?.budget_tokens === 'number' ? config.budget_tokens : 0
}

export function isThinking({ config }: Thinking): boolean {
  return config !== null && config.type !== 'disabled'
}

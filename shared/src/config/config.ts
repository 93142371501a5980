// What a config file means once it is read: references resolved, names in camelCase, times in
// milliseconds. Every service gets this one object at its start and passes it down.
import type { ConfiguredPrices } from '../contracts/usage.ts'
import type { CacheSettings } from './cache-settings.ts'
import type { Deployment } from './deployment.ts'

/** LiteLLM's names. */
export const routingStrategies = [
  'simple-shuffle',
  'least-busy',
  'latency-based-routing',
  'usage-based-routing',
  'usage-based-routing-v2',
  'cost-based-routing',
  // Ours: the same conversation to the same deployment, so that its KV cache is hit.
  'prefix-affinity',
] as const
export type RoutingStrategy = (typeof routingStrategies)[number]

/** Retries by what went wrong; a kind that is absent has `numRetries`. */
export interface RetryPolicy {
  badRequest?: number
  authentication?: number
  timeout?: number
  rateLimit?: number
  contentPolicyViolation?: number
  internalServer?: number
  serviceUnavailable?: number
  notFound?: number
  default?: number
}

export interface RouterSettings {
  /** As configured; the router takes `simple-shuffle` where it has no such strategy. */
  strategy: RoutingStrategy
  numRetries: number
  retryPolicy: RetryPolicy
  /** Time to the first chunk of a stream, for deployments that set none; null: no such limit. */
  streamTimeoutMs: number | null
  cooldownMs: number
  /** Failures within a minute that a deployment may have before it cools down. */
  allowedFails: number
  /** Another name for a model group: alias → group. Has no prototype: any key is safe to look up. */
  modelGroupAlias: Record<string, string>
  /** Aliases that work but are not listed. */
  hiddenAliases: string[]
  enableTagFiltering: boolean
  /** Check the prompt against `maxInputTokens` before the call. */
  enablePreCallChecks: boolean
  /** rpm and tpm are limits, not only weights. */
  enforceModelRateLimits: boolean
}

/** Model group → the groups to try after it, in order. No prototype: any key is safe to look up. */
export type Fallbacks = Record<string, string[]>

/** Bounds of a model group's queue, and where its data may go. */
export interface GroupSettings {
  maxQueueDepth: number | null
  maxQueueWaitMs: number | null
  data: 'local' | 'any'
}

/** The section `penstock_settings`. */
export interface PenstockSettings {
  /** For groups that set none of their own; null: no bound but the deadline. */
  maxQueueDepth: number | null
  maxQueueWaitMs: number | null
  /** By model group. No prototype: any key is safe to look up. */
  modelGroups: Record<string, GroupSettings>
  budgets: BudgetSettings
  /** When Redis is lost: refuse what it should have counted, or count in this gateway alone. */
  redisLost: 'refuse' | 'local'
  /** Keep prompts and replies, where neither key nor team says otherwise. */
  storePrompts: boolean
  /** How long rows of the request log, and prompts, are kept, in milliseconds; null: for ever. */
  retention: { requestLogMs: number | null; promptsMs: number | null }
}

export interface BudgetSettings {
  /**
   * A request of a key with a budget to a model without a price: refuse it, count it as free, or at
   * `defaultPrices`.
   */
  unknownPrice: 'reject' | 'zero' | 'default'
  /** Null unless `unknownPrice` is `default`: then for every model that has no other price. */
  defaultPrices: ConfiguredPrices | null
  /** An IANA zone: where days, weeks and months of budgets begin. */
  timezone: string
  /** Reserved for an answer where neither the request nor the model bounds it. */
  defaultMaxTokens: number
}

export interface PenstockConfig {
  deployments: Deployment[]
  /** Distinct `model_name`s in the file's order; wildcards stay patterns (`openai/*`, `*`). */
  groups: string[]
  /** Null: the gateway is open. A key that is configured but empty or unset is refused instead. */
  masterKey: string | null
  /** The deadline of a whole request, its wait in queues and its retries included. */
  requestTimeoutMs: number
  router: RouterSettings
  fallbacks: Fallbacks
  contextWindowFallbacks: Fallbacks
  contentPolicyFallbacks: Fallbacks
  /** Tried after a group's own fallbacks, for every group. */
  defaultFallbacks: string[]
  /** The global `drop_params`; already merged into every deployment. */
  dropParams: boolean
  /** Null: no answer is given twice. */
  cache: CacheSettings | null
  penstock: PenstockSettings
  general: { databaseUrl: string | null }
  /**
   * The section `environment_variables`, references resolved. It wins over the process's own
   * environment, as in LiteLLM, but is never written into it. May hold secrets.
   */
  environment: Record<string, string>
  /** The sections but `model_list` as written, without anything that may be a secret. */
  raw: Record<string, unknown>
}

export interface LoadedConfig {
  config: PenstockConfig
  /** One sentence each, for the log at start. They hold no secrets. */
  warnings: string[]
}

// The file's values → PenstockConfig: which section wins, what the defaults are, and every problem
// at once. Defaults are LiteLLM's, but for the request timeout: its code says 6,000 s, its
// documentation of the router and the OpenAI SDKs say 600.

import { cacheSettingsOf } from './cache-settings.ts'
import type {
  BudgetSettings,
  Fallbacks,
  LoadedConfig,
  PenstockConfig,
  PenstockSettings,
  RouterSettings,
} from './config.ts'
import { ConfigError } from './config-error.ts'
import { configWarnings } from './config-warnings.ts'
import { buildDeployments } from './deployments.ts'
import { lookUp, readEnvironmentSection, resolveReferences } from './environment.ts'
import { groupSettingsFindings } from './group-settings.ts'
import { rateLimitCheck } from './known-keys.ts'
import {
  duplicateIds,
  formatProblems,
  issueProblems,
  masterKeyProblems,
  masterKeyVariable,
  unsetVariables,
  withCredentials,
} from './problems.ts'
import type { YamlSource } from './read-yaml.ts'
import { configSchema, type FallbackList, type ParsedConfig, retryPolicyNames } from './schema.ts'
import { withoutSecrets } from './secrets.ts'

const defaultNumRetries = 2
const defaultAllowedFails = 3
const defaultCooldownMs = 5_000
const defaultRequestTimeoutMs = 600_000
/** What OpenAI's and Anthropic's clients commonly leave as it is. */
const defaultMaxTokens = 4_096

/** @throws ConfigError with every problem found. */
export function buildConfig(source: YamlSource, env: NodeJS.ProcessEnv): LoadedConfig {
  const value = source.value ?? {}
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(['expected a map with a model_list at its top'])
  }
  const { environment_variables: section, ...sections } = value as Record<string, unknown>
  const environment = readEnvironmentSection(section, env)
  const allVariables = { ...env, ...environment.variables }
  const { tree, problems: credentialProblems } = withCredentials(sections)
  const resolved = resolveReferences(tree, allVariables)
  const unset = unsetVariables(resolved)
  const parsed = configSchema.safeParse(resolved.value)
  const groups = parsed.success ? groupSettingsFindings(parsed.data) : null

  const problems = [
    ...environment.problems,
    ...credentialProblems,
    ...unset.problems,
    ...masterKeyProblems(tree, resolved, allVariables),
    ...duplicateIds(resolved),
    ...(parsed.success ? [] : issueProblems(parsed.error.issues, resolved)),
    ...(groups?.problems ?? []),
  ]
  if (!parsed.success || problems.length > 0) {
    throw new ConfigError(formatProblems(problems, source.lineOf))
  }

  // Key files end in a line break, which no request header can carry.
  const masterKey =
    parsed.data.general_settings.master_key ?? lookUp(allVariables, masterKeyVariable)
  const config: PenstockConfig = {
    ...settingsOf(parsed.data),
    deployments: buildDeployments(parsed.data, writtenParams(tree)),
    groups: [...new Set(parsed.data.model_list.map((entry) => entry.model_name))],
    masterKey: masterKey?.trim() ?? null,
    environment: environment.variables,
    raw: restOf(tree),
  }
  const warnings = configWarnings(config, tree, parsed.data, unset.leftOut)
  return { config, warnings: [...source.warnings, ...(groups?.warnings ?? []), ...warnings] }
}

function settingsOf(parsed: ParsedConfig) {
  const { litellm_settings: litellm, router_settings: router, general_settings: general } = parsed
  const { '*': forEvery = [], ...own } = toFallbacks(inEither(parsed, 'fallbacks'))
  return {
    requestTimeoutMs: router.timeout ?? litellm.request_timeout ?? defaultRequestTimeoutMs,
    router: routerSettings(parsed),
    fallbacks: withoutPrototype(own),
    contextWindowFallbacks: toFallbacks(inEither(parsed, 'context_window_fallbacks')),
    contentPolicyFallbacks: toFallbacks(inEither(parsed, 'content_policy_fallbacks')),
    // LiteLLM keeps default_fallbacks as fallbacks of the group `*`.
    defaultFallbacks: [...new Set([...forEvery, ...inEither(parsed, 'default_fallbacks')])],
    dropParams: litellm.drop_params ?? false,
    cache: cacheSettingsOf(litellm, parsed.penstock_settings.cache),
    penstock: penstockSettings(parsed),
    general: { databaseUrl: general.database_url ?? null },
  }
}

function penstockSettings({
  penstock_settings: section,
  general_settings: general,
}: ParsedConfig): PenstockSettings {
  const groups = Object.entries(section.model_groups ?? {})
  return {
    maxQueueDepth: section.max_queue_depth ?? null,
    maxQueueWaitMs: section.max_queue_wait ?? null,
    budgets: budgetSettings(section.budgets ?? {}),
    redisLost: section.redis_lost ?? 'refuse',
    storePrompts: section.store_prompts ?? general.store_prompts_in_spend_logs ?? false,
    retention: {
      requestLogMs:
        section.retention?.request_log ?? general.maximum_spend_logs_retention_period ?? null,
      promptsMs: section.retention?.prompts ?? null,
    },
    modelGroups: withoutPrototype(
      Object.fromEntries(
        groups.map(([name, group]) => [
          name,
          {
            maxQueueDepth: group.max_queue_depth ?? null,
            maxQueueWaitMs: group.max_queue_wait ?? null,
            data: group.data ?? ('any' as const),
          },
        ]),
      ),
    ),
  }
}

function budgetSettings(
  section: NonNullable<ParsedConfig['penstock_settings']['budgets']>,
): BudgetSettings {
  const unknownPrice = section.unknown_price ?? 'reject'
  return {
    unknownPrice,
    defaultPrices:
      unknownPrice === 'default'
        ? {
            inputCostPerToken: section.default_input_cost_per_token ?? 0,
            outputCostPerToken: section.default_output_cost_per_token ?? 0,
          }
        : null,
    timezone: section.timezone ?? 'UTC',
    defaultMaxTokens: section.default_max_tokens ?? defaultMaxTokens,
  }
}

function routerSettings({
  router_settings: router,
  litellm_settings: litellm,
}: ParsedConfig): RouterSettings {
  const aliases = Object.entries(router.model_group_alias ?? {})
  const checks = router.optional_pre_call_checks ?? []
  const policy = Object.entries(retryPolicyNames).flatMap(([name, ours]) => {
    const retries = router.retry_policy?.[name]
    return retries === undefined ? [] : [[ours, retries] as const]
  })
  return {
    strategy: router.routing_strategy ?? 'simple-shuffle',
    numRetries: router.num_retries ?? litellm.num_retries ?? defaultNumRetries,
    retryPolicy: Object.fromEntries(policy),
    streamTimeoutMs: router.stream_timeout ?? null,
    cooldownMs: router.cooldown_time ?? defaultCooldownMs,
    allowedFails: router.allowed_fails ?? litellm.allowed_fails ?? defaultAllowedFails,
    modelGroupAlias: withoutPrototype(
      Object.fromEntries(aliases.map(([alias, target]) => [alias, target.model])),
    ),
    hiddenAliases: aliases.filter(([, target]) => target.hidden).map(([alias]) => alias),
    enableTagFiltering: router.enable_tag_filtering ?? false,
    enablePreCallChecks: router.enable_pre_call_checks ?? false,
    enforceModelRateLimits: router.enforce_model_rate_limits ?? checks.includes(rateLimitCheck),
  }
}

type ListInEither =
  | 'fallbacks'
  | 'context_window_fallbacks'
  | 'content_policy_fallbacks'
  | 'default_fallbacks'

/** As in LiteLLM, a list in `router_settings` replaces the other one unless it is empty. */
function inEither<K extends ListInEither>(
  { router_settings: router, litellm_settings: litellm }: ParsedConfig,
  key: K,
): NonNullable<ParsedConfig['router_settings'][K]> | [] {
  const own = router[key]
  return own !== undefined && own.length > 0 ? own : (litellm[key] ?? [])
}

/** A group that is listed twice has both lists, in order. */
function toFallbacks(list: FallbackList): Fallbacks {
  const fallbacks: Fallbacks = withoutPrototype({})
  for (const [group, targets] of list.flatMap((item) => Object.entries(item))) {
    fallbacks[group] = [...new Set([...(fallbacks[group] ?? []), ...targets])]
  }
  return fallbacks
}

/** Names of models come from clients: `constructor` must find nothing in a map of them. */
function withoutPrototype<T>(map: Record<string, T>): Record<string, T> {
  return Object.assign(Object.create(null), map)
}

function writtenParams(tree: Record<string, unknown>): unknown[] {
  const list = Array.isArray(tree.model_list) ? tree.model_list : []
  return list.map((entry: { litellm_params?: unknown }) => entry.litellm_params)
}

function restOf(tree: Record<string, unknown>): Record<string, unknown> {
  const { model_list: _models, credential_list: _credentials, ...rest } = tree
  return withoutSecrets(rest) as Record<string, unknown>
}

// What LiteLLM's config.yaml may hold where Penstock acts on it. Keys that are not here pass
// through untouched (known-keys.ts names them), so these shapes are also the list of what we act on.
import { z } from 'zod'
import type { ConfiguredPrices } from '../contracts/usage.ts'
import { cacheBounds, cacheShape } from './cache-settings.ts'
import { routingStrategies } from './config.ts'
import * as f from './fields.ts'

/** LiteLLM's names of prices, and ours. */
export const priceNames = {
  input_cost_per_token: 'inputCostPerToken',
  output_cost_per_token: 'outputCostPerToken',
  cache_read_input_token_cost: 'cacheReadInputTokenCost',
  cache_creation_input_token_cost: 'cacheCreationInputTokenCost',
  cache_creation_input_token_cost_above_1hr: 'cacheCreationInputTokenCostAbove1hr',
  input_cost_per_second: 'inputCostPerSecond',
  output_cost_per_second: 'outputCostPerSecond',
  input_cost_per_token_priority: 'inputCostPerTokenPriority',
  output_cost_per_token_priority: 'outputCostPerTokenPriority',
  cache_read_input_token_cost_priority: 'cacheReadInputTokenCostPriority',
  input_cost_per_token_flex: 'inputCostPerTokenFlex',
  output_cost_per_token_flex: 'outputCostPerTokenFlex',
  cache_read_input_token_cost_flex: 'cacheReadInputTokenCostFlex',
  input_cost_per_token_batches: 'inputCostPerTokenBatches',
  output_cost_per_token_batches: 'outputCostPerTokenBatches',
} as const satisfies Record<string, keyof ConfiguredPrices>
type PriceName = keyof typeof priceNames

const price = f.notNegative.optional()
export const priceShape = Object.fromEntries(
  Object.keys(priceNames).map((name) => [name, price]),
) as Record<PriceName, typeof price>

export const litellmParamsShape = {
  model: z.string('expected provider/model').min(1, 'expected provider/model'),
  custom_llm_provider: f.text.optional(),
  api_key: f.textOrEmpty.optional(),
  api_base: f.webUrl.optional(),
  base_url: f.webUrl.optional(),
  organization: f.oneOrMoreTexts.optional(),
  extra_headers: f.headerMap.optional(),
  headers: f.headerMap.optional(),
  extra_body: f.anyMap.optional(),
  timeout: f.secondsToMs.optional(),
  stream_timeout: f.secondsToMs.optional(),
  max_parallel_requests: f.positiveCount.optional(),
  rpm: f.positive.optional(),
  tpm: f.positive.optional(),
  weight: f.notNegative.optional(),
  order: f.integer.optional(),
  cooldown_time: f.secondsOrZeroToMs.optional(),
  tags: f.textList.optional(),
  drop_params: f.flag.optional(),
  additional_drop_params: f.textList.optional(),
  mock_response: f.text.optional(),
  litellm_credential_name: f.text.optional(),
  ...priceShape,
}

export const modelInfoShape = {
  id: f.scalarText.optional(),
  mode: f.text.optional(),
  base_model: f.text.optional(),
  max_input_tokens: f.positiveCount.optional(),
  max_output_tokens: f.positiveCount.optional(),
  max_tokens: f.positiveCount.optional(),
  data_locality: f.oneOf(['local', 'cloud']).optional(),
  ...priceShape,
}

const modelEntry = z.looseObject(
  {
    model_name: f.text,
    litellm_params: z.looseObject(litellmParamsShape, 'expected a map with at least `model`'),
    model_info: z.looseObject(modelInfoShape, 'expected a map').default({}),
  },
  'expected a map with model_name and litellm_params',
)
export type ModelEntry = z.infer<typeof modelEntry>

/** `[{a: [b, c]}, {d: [e]}]` */
const fallbackList = z.array(
  z.record(
    z.string(),
    z.array(z.string('expected the name of a model group'), 'expected a list of model groups'),
    'expected {group: [groups to try after it]}',
  ),
  'expected a list of {group: [groups to try after it]}',
)
export type FallbackList = z.infer<typeof fallbackList>

/** Most of it may stand in either section; where both have it, `router_settings` counts. */
const inEitherShape = {
  num_retries: f.count.optional(),
  allowed_fails: f.count.optional(),
  fallbacks: fallbackList.optional(),
  context_window_fallbacks: fallbackList.optional(),
  content_policy_fallbacks: fallbackList.optional(),
  default_fallbacks: f.textList.optional(),
}

export const litellmSettingsShape = {
  ...inEitherShape,
  ...cacheShape,
  drop_params: f.flag.optional(),
  request_timeout: f.secondsToMs.optional(),
}

/** LiteLLM's names of the kinds of error, and ours. */
export const retryPolicyNames = {
  BadRequestErrorRetries: 'badRequest',
  AuthenticationErrorRetries: 'authentication',
  TimeoutErrorRetries: 'timeout',
  RateLimitErrorRetries: 'rateLimit',
  ContentPolicyViolationErrorRetries: 'contentPolicyViolation',
  InternalServerErrorRetries: 'internalServer',
  ServiceUnavailableErrorRetries: 'serviceUnavailable',
  NotFoundErrorRetries: 'notFound',
  DefaultRetries: 'default',
} as const

export const routerSettingsShape = {
  ...inEitherShape,
  routing_strategy: f.oneOf(routingStrategies).optional(),
  timeout: f.secondsToMs.optional(),
  stream_timeout: f.secondsToMs.optional(),
  cooldown_time: f.secondsOrZeroToMs.optional(),
  retry_policy: z.record(z.string(), f.count, 'expected a map of retries by error').optional(),
  model_group_alias: z
    .record(
      z.string(),
      z.preprocess(
        (value) => (typeof value === 'string' ? { model: value } : value),
        z.looseObject(
          { model: f.text, hidden: f.flag.optional() },
          'expected the name of a model group',
        ),
      ),
      'expected a map of aliases',
    )
    .optional(),
  default_max_parallel_requests: f.positiveCount.optional(),
  enable_tag_filtering: f.flag.optional(),
  enable_pre_call_checks: f.flag.optional(),
  enforce_model_rate_limits: f.flag.optional(),
  optional_pre_call_checks: f.textList.optional(),
}

export const generalSettingsShape = {
  store_prompts_in_spend_logs: f.flag.optional(),
  maximum_spend_logs_retention_period: f.durationToMs.optional(),
  master_key: z.string('expected a text in quotes').optional(),
  database_url: f.text.optional(),
}

/** Bounds of a queue: for every model group, or for one under `model_groups`. */
const queueShape = {
  max_queue_depth: f.count.optional(),
  max_queue_wait: f.secondsToMs.optional(),
}

const budgetSettings = z.strictObject(
  {
    unknown_price: f.oneOf(['reject', 'zero', 'default']).optional(),
    default_input_cost_per_token: f.notNegative.optional(),
    default_output_cost_per_token: f.notNegative.optional(),
    timezone: f.timezone.optional(),
    default_max_tokens: f.positiveCount.optional(),
  },
  'expected a map',
)

const groupSettings = z.strictObject(
  { ...queueShape, data: f.oneOf(['local', 'any']).optional() },
  'expected a map',
)

export const configSchema = z.looseObject({
  model_list: z.array(modelEntry, 'expected a list of deployments').default([]),
  litellm_settings: z.looseObject(litellmSettingsShape, 'expected a map').default({}),
  router_settings: z.looseObject(routerSettingsShape, 'expected a map').default({}),
  general_settings: z.looseObject(generalSettingsShape, 'expected a map').default({}),
  // Penstock's own settings: strict, so that a misspelt one is never taken for a later version's.
  penstock_settings: z
    .strictObject(
      {
        ...queueShape,
        budgets: budgetSettings.optional(),
        cache: cacheBounds.optional(),
        redis_lost: f.oneOf(['refuse', 'local']).optional(),
        store_prompts: f.flag.optional(),
        retention: z
          .strictObject(
            { request_log: f.durationToMs.optional(), prompts: f.durationToMs.optional() },
            'expected a map',
          )
          .optional(),
        model_groups: z
          .record(z.string(), groupSettings, 'expected a map of model groups')
          .optional(),
      },
      'expected a map',
    )
    .default({}),
})
export type ParsedConfig = z.infer<typeof configSchema>

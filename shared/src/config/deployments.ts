// `model_list` → deployments: defaults apart from settings, prices and limits where LiteLLM looks
// for them, one deployment per organization, a stable id each.
import type { ConfiguredPrices } from '../contracts/usage.ts'
import type { Deployment } from './deployment.ts'
import { configuredId, identityOf, idMaker } from './deployment-id.ts'
import { paramKind } from './known-keys.ts'
import { type ModelEntry, type ParsedConfig, priceNames } from './schema.ts'

type Params = ModelEntry['litellm_params']

/** A weight of 0 means "only when nothing else is left"; to the fleet a weight is above 0. */
const leastWeight = 1e-9

/**
 * @param written the entries' `litellm_params` as written, references not resolved: the base of
 *   their ids.
 */
export function buildDeployments(parsed: ParsedConfig, written: readonly unknown[]): Deployment[] {
  const makeId = idMaker()
  return parsed.model_list.flatMap((entry, index) => {
    const params = entry.litellm_params
    const organizations = params.organization ?? [null]
    return organizations.map((organization, position) => {
      const several = organizations.length > 1
      const own = identityOf(written[index])
      const identity = several ? { params: own, organization } : own
      const given = entry.model_info.id
      const id =
        given === undefined
          ? makeId(entry.model_name, identity)
          : configuredId(position === 0 ? given : `${given}/${organization}`)
      return buildDeployment(id, organization, entry, parsed)
    })
  })
}

function buildDeployment(
  id: string,
  organization: string | null,
  entry: ModelEntry,
  parsed: ParsedConfig,
): Deployment {
  const { litellm_params: params, model_info: info } = entry
  return {
    id,
    group: entry.model_name,
    model: qualifiedModel(params),
    apiBase: params.api_base ?? params.base_url ?? null,
    apiKey: params.api_key || null,
    organization,
    extraHeaders: { ...params.headers, ...params.extra_headers },
    timeoutMs: params.timeout ?? null,
    streamTimeoutMs: params.stream_timeout ?? null,
    maxParallelRequests:
      params.max_parallel_requests ?? parsed.router_settings.default_max_parallel_requests ?? null,
    rpm: params.rpm ?? null,
    tpm: params.tpm ?? null,
    weight: params.weight === 0 ? leastWeight : (params.weight ?? null),
    order: params.order ?? null,
    cooldownMs: params.cooldown_time ?? null,
    tags: params.tags ?? [],
    dropParams: params.drop_params ?? parsed.litellm_settings.drop_params ?? false,
    additionalDropParams: params.additional_drop_params ?? [],
    defaults: bodyDefaults(params),
    prices: pricesOf(entry),
    baseModel: info.base_model ?? null,
    mode: info.mode ?? null,
    maxInputTokens: info.max_input_tokens ?? null,
    // In LiteLLM's model_info `max_tokens` is the older name of the same.
    maxOutputTokens: info.max_output_tokens ?? info.max_tokens ?? null,
    dataLocality: info.data_locality ?? null,
    mockResponse: params.mock_response ?? null,
  }
}

/** LiteLLM's `custom_llm_provider` names the provider where the model's name does not. */
function qualifiedModel({ model, custom_llm_provider: provider }: Params): string {
  return provider === undefined || model.startsWith(`${provider}/`) ? model : `${provider}/${model}`
}

/** What is neither a setting of ours nor LiteLLM's own is sent along; `extra_body` is more of it. */
function bodyDefaults(params: Params): Record<string, unknown> {
  const rest = Object.entries(params).filter(([name]) => {
    const kind = paramKind(name)
    return kind === 'body' || kind === 'unknown'
  })
  return { ...Object.fromEntries(rest), ...params.extra_body }
}

/** Prices may stand in either place; as in LiteLLM, those in `litellm_params` count first. */
function pricesOf({
  litellm_params: params,
  model_info: info,
}: ModelEntry): ConfiguredPrices | null {
  const prices: ConfiguredPrices = {}
  for (const name of Object.keys(priceNames) as (keyof typeof priceNames)[]) {
    const price = params[name] ?? info[name]
    if (price !== undefined) prices[priceNames[name]] = price
  }
  return Object.keys(prices).length > 0 ? prices : null
}

// A deployment with its provider found: what a pool serves and what a heartbeat says of it.
import type { BudgetSettings } from '@penstock/shared/config/config'
import type { Deployment } from '@penstock/shared/config/deployment'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { configuredLists } from '@penstock/shared/pricing/own-prices'
import { lookUpPrices } from '@penstock/shared/pricing/price-table'
import type { ProviderEntry } from './providers/provider.ts'
import { resolveProvider } from './providers/resolve.ts'

export interface ResolvedDeployment {
  /** With the upstream's address and key filled in. */
  deployment: Deployment
  entry: ProviderEntry
  prefix: string
  /** The model's name at the upstream; may hold a `*` for a wildcard group. */
  model: string
  info: DeploymentInfo
}

/** @throws Error naming the deployment, if no provider has its model's prefix */
export function resolveDeployment(
  deployment: Deployment,
  env: NodeJS.ProcessEnv,
): ResolvedDeployment {
  const { entry, prefix, model, apiBase, apiKey, defaults, locality } = resolveProvider(
    deployment,
    env,
  )
  return {
    deployment: { ...deployment, apiBase, apiKey, defaults },
    entry,
    prefix,
    model,
    info: {
      id: deployment.id,
      group: deployment.group,
      provider: prefix,
      model,
      slots: deployment.maxParallelRequests ?? entry.slots,
      weight: deployment.weight,
      order: deployment.order,
      rpm: deployment.rpm,
      tpm: deployment.tpm,
      tags: deployment.tags,
      locality,
      maxInputTokens: deployment.maxInputTokens,
      maxOutputTokens: deployment.maxOutputTokens ?? configuredLimit(deployment),
      inputCostPerToken: deployment.prices?.inputCostPerToken ?? null,
      outputCostPerToken: deployment.prices?.outputCostPerToken ?? null,
      cooldownMs: deployment.cooldownMs,
      apiBase: withoutCredentials(apiBase),
      priceRef:
        entry.pricesAs === undefined
          ? null
          : { provider: entry.pricesAs, model: pricedModel(deployment, entry) ?? model },
      prices: deployment.prices,
    },
  }
}

/**
 * The deployment with the stand-in prices that it is announced and billed at, where the settings want
 * them and nothing else names a price. A wildcard's models are not known before they are asked for.
 */
export function withDefaultPrices(
  target: ResolvedDeployment,
  { unknownPrice, defaultPrices }: BudgetSettings,
): ResolvedDeployment {
  const { info } = target
  const isWanted = unknownPrice === 'default' && !hasPrice(info) && !info.group.includes('*')
  if (!isWanted || defaultPrices === null || isListed(info)) return target
  return { ...target, info: { ...info, prices: { ...info.prices, ...defaultPrices } } }
}

/** Those of service tiers and batches stand beside a normal price; alone they are none. */
function hasPrice({ prices }: DeploymentInfo): boolean {
  return Object.keys(configuredLists(prices).normal).length > 0
}

function isListed({ priceRef }: DeploymentInfo): boolean {
  return (
    priceRef !== null && lookUpPrices({ ...priceRef, at: Date.now(), promptTokens: 0 }) !== null
  )
}

/** `max_tokens` in `litellm_params`: what a request that asks for none gets. */
function configuredLimit({ defaults }: Deployment): number | null {
  const limit = defaults.max_completion_tokens ?? defaults.max_tokens
  return typeof limit === 'number' && Number.isInteger(limit) ? limit : null
}

/** LiteLLM's `base_model` has the provider's prefix (`azure/gpt-4o`), a price list has not. */
function pricedModel({ baseModel }: Deployment, { prefixes }: ProviderEntry): string | null {
  const prefix = prefixes.find((name) => baseModel?.startsWith(`${name}/`))
  return prefix === undefined ? baseModel : (baseModel?.slice(prefix.length + 1) ?? null)
}

/** Heartbeats and the ledger are read by many. */
function withoutCredentials(url: string | null): string | null {
  const parsed = URL.parse(url ?? '')
  if (parsed === null || (parsed.username === '' && parsed.password === '')) return url
  parsed.username = ''
  parsed.password = ''
  return parsed.href
}

// A deployment with its provider found: what a pool serves and what a heartbeat says of it.
import type { Deployment } from '@penstock/shared/config/deployment'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
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
  const { entry, prefix, model, apiBase, apiKey, locality } = resolveProvider(deployment, env)
  return {
    deployment: { ...deployment, apiBase, apiKey },
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
      maxOutputTokens: deployment.maxOutputTokens,
      inputCostPerToken: deployment.prices?.inputCostPerToken ?? null,
      outputCostPerToken: deployment.prices?.outputCostPerToken ?? null,
      cooldownMs: deployment.cooldownMs,
      apiBase: withoutCredentials(apiBase),
      priceRef:
        entry.pricesAs === undefined
          ? null
          : { provider: entry.pricesAs, model: deployment.baseModel ?? model },
      prices: deployment.prices,
    },
  }
}

/** Heartbeats and the ledger are read by many. */
function withoutCredentials(url: string | null): string | null {
  const parsed = URL.parse(url ?? '')
  if (parsed === null || (parsed.username === '' && parsed.password === '')) return url
  parsed.username = ''
  parsed.password = ''
  return parsed.href
}

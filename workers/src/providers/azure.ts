// Azure OpenAI: OpenAI's API at a resource's own address, one URL for each deployment or, in the v1
// form, one for all; with a key in `api-key` or a Microsoft Entra token. Its content filter's results
// pass through in the answer. (Microsoft: "Azure OpenAI REST API reference", "API version lifecycle".)
import type { Deployment } from '@penstock/shared/config/deployment'
import type { Operation } from '@penstock/shared/contracts/request'
import { z } from 'zod'
import { everything, openAiCompatible } from './openai.ts'
import { endpointPaths, splitApiBase } from './openai-request.ts'
import type { ProviderCall } from './provider.ts'
import type { TableEntry } from './table.ts'

/** LiteLLM's `api_version` and `azure_ad_token`: settings of the deployment, never of a request. */
const settings = z.object({
  api_version: z.string().min(1).nullish().catch(null),
  azure_ad_token: z.string().min(1).nullish().catch(null),
})

/** Versions of the v1 API; a dated one has the older form with a URL for each deployment. */
const v1Versions = new Set(['v1', 'preview', 'latest'])

export const azure: TableEntry = {
  provider: openAiCompatible({
    operations: everything,
    routed: ['image', 'speech', 'transcription', 'translation'],
    strict: true,
    url: urlOf,
    credentials,
  }),
  prefixes: ['azure'],
  slots: 64,
  locality: 'cloud',
  apiBaseEnv: ['AZURE_API_BASE'],
  apiKeyEnv: 'AZURE_API_KEY',
  // The deployment's own name says nothing: `base_model` names what is priced.
  pricesAs: 'azure',
  modelName: deploymentName,
  defaultsEnv: { api_version: 'AZURE_API_VERSION' },
}

function urlOf({ deployment, model, operation }: ProviderCall<Operation>, apiBase: string): string {
  const { api_version: configured } = settings.parse(deployment.defaults)
  return azureUrl(apiBase, model, operation, configured ?? null)
}

/**
 * `api_base` as users write it: the resource's origin, with `/openai`, `/openai/v1`, a deployment or a
 * whole endpoint behind it, or a gateway's path before it. An `api-version` in its query counts where
 * none is configured.
 */
export function azureUrl(
  apiBase: string,
  name: string,
  operation: Operation,
  configured: string | null,
): string {
  const { url, base } = splitApiBase(apiBase)
  const version = configured ?? url.searchParams.get('api-version')
  const written = url.pathname === '/' ? '' : base
  const isV1 = version === null || v1Versions.has(version) || written.endsWith('/openai/v1')
  if (/\/deployments\/[^/]+$/.test(written)) url.pathname = written + endpointPaths[operation]
  else {
    const root = written.replace(/\/openai(?:\/v1)?$/, '')
    const place = isV1 ? 'v1' : `deployments/${encodeURIComponent(name)}`
    url.pathname = `${root}/openai/${place}${endpointPaths[operation]}`
  }
  url.searchParams.delete('api-version')
  // The v1 API refuses a dated version.
  const isFit = version !== null && (!isV1 || v1Versions.has(version))
  if (isFit) url.searchParams.set('api-version', version)
  return url.href
}

/** LiteLLM's marks of a model family before the deployment's name. */
function deploymentName(model: string): string {
  return model.replace(/^(?:o_series|gpt5_series)\//, '')
}

function credentials({ apiKey, defaults }: Deployment): Record<string, string> {
  const { azure_ad_token: token } = settings.parse(defaults)
  if (token) return { authorization: `Bearer ${token}` }
  return apiKey === null ? {} : { 'api-key': apiKey }
}

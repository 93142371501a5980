// Finds the provider of a deployment, and the address, key and locality that the config leaves open.
import { BlockList, isIP } from 'node:net'
import type { Deployment } from '@penstock/shared/config/deployment'
import { mocked } from './mock.ts'
import type { ProviderEntry } from './provider.ts'
import { providers, type TableEntry } from './table.ts'

export interface ResolvedProvider {
  entry: ProviderEntry
  prefix: string
  /** The model's name at the upstream. */
  model: string
  apiBase: string | null
  apiKey: string | null
  /** The deployment's, and what the environment adds to them. */
  defaults: Record<string, unknown>
  locality: 'local' | 'cloud'
}

/**
 * `env` supplies the addresses and keys that the deployment does not name.
 * @throws Error naming the deployment when no provider has its prefix or its address is missing
 */
export function resolveProvider(
  deployment: Deployment,
  env: Record<string, string | undefined>,
): ResolvedProvider {
  const { entry, prefix, model } = findEntry(deployment)
  const apiBase =
    deployment.apiBase ?? firstSet(env, entry.apiBaseEnv ?? []) ?? entry.apiBase ?? null
  const isMock = deployment.mockResponse !== null
  if (apiBase === null && entry.apiBaseEnv !== undefined && !isMock) {
    throw new Error(
      `${describe(deployment)}: api_base is missing; set it, or ${entry.apiBaseEnv.join(' or ')}`,
    )
  }
  const keyNames = [entry.apiKeyEnv ?? [], entry.otherKeyEnv ?? []].flat()
  const apiKey = deployment.apiKey ?? firstSet(env, keyNames)
  return {
    entry: deployment.mockResponse === null ? entry : mocked(entry, deployment.mockResponse),
    prefix,
    model,
    apiBase,
    // A line break at the end of a key file or variable would make an invalid header.
    apiKey: apiKey?.trim() || null,
    defaults: { ...defaultsFrom(env, entry.defaultsEnv ?? {}), ...deployment.defaults },
    locality: deployment.dataLocality ?? (isPrivate(apiBase) ? 'local' : entry.locality),
  }
}

function findEntry(deployment: Deployment): { entry: TableEntry; prefix: string; model: string } {
  const written = deployment.model
  const slash = written.indexOf('/')
  const prefix = written.slice(0, Math.max(slash, 0))
  const named = providers.find(({ prefixes }) => prefixes.includes(prefix))
  if (named !== undefined) {
    const model = written.slice(slash + 1)
    return { entry: named, prefix, model: named.modelName?.(model) ?? model }
  }
  const owner = providers.find(({ owns }) => owns?.test(written))
  const [ownPrefix] = owner?.prefixes ?? []
  if (owner !== undefined && ownPrefix !== undefined) {
    return { entry: owner, prefix: ownPrefix, model: written }
  }
  const known = providers.flatMap(({ prefixes }) => prefixes).map((name) => `${name}/`)
  throw new Error(`${describe(deployment)}: unknown provider; known are ${known.join(', ')}`)
}

function describe({ group, model }: Deployment): string {
  return `The deployment of ${group} with model ${model}`
}

function firstSet(
  env: Record<string, string | undefined>,
  names: readonly string[],
): string | null {
  for (const name of names) {
    const value = env[name]
    if (value) return value
  }
  return null
}

function defaultsFrom(
  env: Record<string, string | undefined>,
  names: Readonly<Record<string, string>>,
): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [param, name] of Object.entries(names)) {
    const value = env[name]?.trim()
    if (value) found[param] = value
  }
  return found
}

// RFC 1918, 1122, 3927 and 6598 (which Tailscale uses), RFC 4291 and 4193.
const privateAddresses = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  privateAddresses.addSubnet(net, bits, 'ipv4')
}
for (const [net, bits] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
] as const) {
  privateAddresses.addSubnet(net, bits, 'ipv6')
}

/**
 * Private and loopback addresses, names that only a local resolver can know (without a dot, as in
 * compose and Kubernetes), and the domains reserved for private use (RFC 6761, 6762, 8375).
 */
export function isPrivate(url: string | null): boolean {
  const hostname = URL.parse(url ?? '')?.hostname.toLowerCase() ?? ''
  const host = hostname.replace(/^\[|\]$/g, '')
  if (host === '') return false
  const family = isIP(host)
  if (family !== 0) return privateAddresses.check(host, family === 4 ? 'ipv4' : 'ipv6')
  return !host.includes('.') || /\.(?:localhost|local|internal|home\.arpa)$/.test(host)
}

// The model groups that fallbacks may lead a request to: they may serve it, so they may bill it.
import type { PenstockConfig } from '@penstock/shared/config/config'

/** @param allowed those that the key may use; null: all */
export function fallbackGroups(
  config: PenstockConfig,
  group: string,
  allowed: readonly string[] | null,
): string[] {
  const { fallbacks, contextWindowFallbacks, contentPolicyFallbacks, defaultFallbacks } = config
  const chain = [
    ...(fallbacks[group] ?? []),
    ...(fallbacks['*'] ?? []),
    ...(contextWindowFallbacks[group] ?? []),
    ...(contentPolicyFallbacks[group] ?? []),
    ...defaultFallbacks,
  ]
  const others = [...new Set(chain)].filter((one) => one !== group)
  return allowed === null ? others : others.filter((one) => allowed.includes(one))
}

// What a usable config is told at start: what is missing in it, and in one sentence every key that
// has no effect, so that nothing is ignored in silence. No warning holds a value that may be secret.
import { cacheWarnings } from './cache-settings.ts'
import type { PenstockConfig } from './config.ts'
import { type ConfigPath, describeValue, formatPath } from './config-error.ts'
import { unusedKeys } from './known-keys.ts'
import { resolveGroup } from './resolve-group.ts'
import type { FallbackList, ParsedConfig } from './schema.ts'

/** @param unset unset variable → formatted paths of the values that are left out because of it */
export function configWarnings(
  config: PenstockConfig,
  written: Record<string, unknown>,
  parsed: ParsedConfig,
  unset: ReadonlyMap<string, readonly string[]>,
): string[] {
  const warnings: string[] = []
  if (config.groups.length === 0) {
    warnings.push('model_list is empty: only models that workers announce will be served')
  }
  for (const [variable, paths] of unset) {
    warnings.push(`the environment variable ${variable} is not set; left out: ${paths.join(', ')}`)
  }
  if (config.masterKey !== null && !config.masterKey.startsWith('sk-')) {
    warnings.push('the master key does not begin with sk-, as LiteLLM keys do')
  }
  warnings.push(...cacheWarnings(parsed.litellm_settings), ...unknownGroups(config, parsed))
  const unused = unusedSentence(written)
  return unused === null ? warnings : [...warnings, unused]
}

function unusedSentence(written: Record<string, unknown>): string | null {
  const { known, unknown } = unusedKeys(written)
  const parts: string[] = []
  if (known.length > 0) parts.push(`read, but not acted on (yet): ${known.join(', ')}`)
  if (unknown.length > 0) parts.push(`unknown: ${unknown.join(', ')}`)
  return parts.length > 0 ? parts.join('; ') : null
}

/** Fallbacks and aliases that lead nowhere now; a worker that joins later may still serve them. */
function unknownGroups(config: PenstockConfig, parsed: ParsedConfig): string[] {
  const known = {
    groups: config.groups,
    aliases: config.router.modelGroupAlias,
  }
  const warnings: string[] = []
  const check = (name: string, path: ConfigPath) => {
    if (name === '*' || resolveGroup(name, known, []) !== null) return
    warnings.push(`${formatPath(path)}: ${describeValue(name)} is no model group of this config`)
  }
  const checkAll = (list: FallbackList | undefined, path: ConfigPath) => {
    for (const [index, item] of (list ?? []).entries()) {
      for (const [group, targets] of Object.entries(item)) {
        check(group, [...path, index, group])
        for (const [position, target] of targets.entries()) {
          check(target, [...path, index, group, position])
        }
      }
    }
  }
  for (const section of ['litellm_settings', 'router_settings'] as const) {
    for (const key of [
      'fallbacks',
      'context_window_fallbacks',
      'content_policy_fallbacks',
    ] as const) {
      checkAll(parsed[section][key], [section, key])
    }
    for (const [index, target] of (parsed[section].default_fallbacks ?? []).entries()) {
      check(target, [section, 'default_fallbacks', index])
    }
  }
  for (const [alias, { model }] of Object.entries(parsed.router_settings.model_group_alias ?? {})) {
    check(model, ['router_settings', 'model_group_alias', alias])
  }
  return warnings
}

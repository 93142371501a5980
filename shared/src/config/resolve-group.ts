// From the model a client names to the model group that serves it, and from a wildcard group to the
// model's name upstream. Pure; its time grows with the names' length alone, whatever the pattern.

export interface KnownGroups {
  groups: readonly string[]
  /** `router_settings.model_group_alias`: alias → group. */
  aliases: Readonly<Record<string, string>>
}

/** The name behind an alias (one step: an alias of an alias is none), else the name itself. */
export function resolveAlias(name: string, aliases: KnownGroups['aliases']): string {
  return Object.hasOwn(aliases, name) ? (aliases[name] ?? name) : name
}

/**
 * Exact name, then alias (the config's before those that workers announce), then the most specific
 * wildcard (`openai/*` before `*`); null: unknown.
 * Where an alias or a fallback leads to a wildcard group, `upstreamModelFor` wants the name it
 * stands for (`resolveAlias`), not the client's.
 *
 * @param liveGroups groups that workers announce and the config need not know
 * @param liveAliases aliases that workers announce
 */
export function resolveGroup(
  requestedModel: string,
  known: KnownGroups,
  liveGroups: readonly string[],
  liveAliases: KnownGroups['aliases'] = {},
): string | null {
  const isGroup = (name: string) => known.groups.includes(name) || liveGroups.includes(name)
  if (isGroup(requestedModel)) return requestedModel
  const name = resolveAlias(requestedModel, known.aliases)
  if (name !== requestedModel && isGroup(name)) return name
  const live = resolveAlias(requestedModel, liveAliases)
  if (live !== requestedModel && isGroup(live)) return live

  let best: string | null = null
  for (const pattern of [...known.groups, ...liveGroups]) {
    if (!pattern.includes('*') || matchWildcard(pattern, name) === null) continue
    if (best === null || isMoreSpecific(pattern, best)) best = pattern
  }
  return best
}

/**
 * The model to ask the upstream for: each `*` in the deployment's model becomes what the group's
 * `*` stood for in the request. Where the model has fewer `*`, the last ones count (`*llama3*` on
 * `bedrock/llama3*`); a model without any stays as it is.
 */
export function upstreamModelFor(
  deploymentModel: string,
  groupPattern: string,
  requestedModel: string,
): string {
  if (!deploymentModel.includes('*')) return deploymentModel
  const segments = matchWildcard(groupPattern, requestedModel)
  if (segments === null) return requestedModel
  const parts = deploymentModel.split('*')
  const fillings = segments.slice(-(parts.length - 1))
  return parts.map((part, index) => part + (fillings[index] ?? '')).join('')
}

/** Whether the name is one of those that the pattern stands for. */
export function matchesWildcard(pattern: string, name: string): boolean {
  return matchWildcard(pattern, name) !== null
}

/** More letters that must match is more specific; then fewer wildcards; then the earlier one. */
function isMoreSpecific(pattern: string, other: string): boolean {
  const letters = (text: string) => text.replaceAll('*', '').length
  const difference = letters(pattern) - letters(other)
  return difference > 0 || (difference === 0 && pattern.length < other.length)
}

/** What each `*` of the pattern stands for in the name; null: no match. Never backtracks. */
function matchWildcard(pattern: string, name: string): string[] | null {
  const [head = '', ...rest] = pattern.split('*')
  const tail = rest.pop()
  if (tail === undefined) return pattern === name ? [] : null
  if (!name.startsWith(head) || !name.endsWith(tail)) return null
  const end = name.length - tail.length
  const segments: string[] = []
  let from = head.length
  for (const literal of rest) {
    const at = name.indexOf(literal, from)
    if (at < 0) return null
    segments.push(name.slice(from, at))
    from = at + literal.length
  }
  if (from > end) return null
  segments.push(name.slice(from, end))
  return segments
}

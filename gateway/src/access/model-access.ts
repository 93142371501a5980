// Which model a client means and whether its key may use it: the key's own aliases first, then the
// config's and the workers'. Every list of models (the key's, its team's, its user's) has to allow it.
import { matchesWildcard, resolveAlias, resolveGroup } from '@penstock/shared/config/resolve-group'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Identity } from '../auth.ts'
import type { Gateway } from '../gateway.ts'

/** What of the gateway models are resolved by. */
export type Models = Pick<Gateway, 'config' | 'fleet'>

export interface ResolvedModel {
  /** With aliases resolved: what the upstream's name is made of. */
  model: string
  group: string
  /** Groups that fallbacks may lead to; null: all of them. */
  allowedGroups: string[] | null
}

/** LiteLLM's entries of lists that are no model; the third one is a list's way to say: none. */
const allowEverything = ['all-proxy-models', 'all-team-models']
const specials = [...allowEverything, 'no-default-models']

/** @throws PenstockError `model_not_found`; `model_access_denied` naming the lists that refuse */
export function resolveModel(
  models: Models,
  { facts }: Identity,
  requested: string,
): ResolvedModel {
  const name = facts === null ? requested : resolveAlias(requested, facts.aliases)
  const group = groupOf(models, name)
  if (group === null) {
    const message = `The model \`${requested}\` does not exist. GET /v1/models lists those that do.`
    throw new PenstockError('model_not_found', message, { param: 'model' })
  }
  const model = resolveAlias(name, models.config.router.modelGroupAlias)
  if (facts === null) return { model, group, allowedGroups: null }
  const refusing = listsThatRefuse(models, facts, canonical(models, name))
  if (refusing.length > 0) throw denied(requested, refusing)
  return { model, group, allowedGroups: allowedFallbacks(models, facts, group) }
}

/** The names under which a caller can ask for something, each once; patterns are none. */
export function listedModels(models: Models, { facts }: Identity): string[] {
  const { config, fleet } = models
  const { modelGroupAlias, hiddenAliases } = config.router
  const aliases = Object.keys(modelGroupAlias).filter((one) => !hiddenAliases.includes(one))
  const names = [...config.groups, ...fleet.groups(), ...aliases, ...Object.keys(fleet.aliases)]
  if (facts === null) return [...new Set(names)].filter((name) => !name.includes('*'))
  // A list may name models that only a pattern of the config stands for.
  const own = facts.modelLists.flat().filter((entry) => !specials.includes(entry))
  const candidates = [...new Set([...names, ...Object.keys(facts.aliases), ...own])]
  return candidates.filter((candidate) => {
    const name = resolveAlias(candidate, facts.aliases)
    if (candidate.includes('*') || groupOf(models, name) === null) return false
    return listsThatRefuse(models, facts, canonical(models, name)).length === 0
  })
}

function groupOf({ config, fleet }: Models, name: string): string | null {
  const known = { groups: config.groups, aliases: config.router.modelGroupAlias }
  return resolveGroup(name, known, fleet.groups(), fleet.aliases)
}

/** The one name behind all aliases: the group's, or within a wildcard group the model's. */
function canonical(models: Models, name: string): string {
  const group = groupOf(models, name)
  if (group !== null && !group.includes('*')) return group
  return resolveAlias(name, models.config.router.modelGroupAlias)
}

function listsThatRefuse(models: Models, facts: KeyFacts, name: string): readonly string[][] {
  return facts.modelLists.filter((list) => list.length > 0 && !allows(models, list, name))
}

function allows(models: Models, list: readonly string[], name: string): boolean {
  return list.some((entry) => {
    if (entry === name || allowEverything.includes(entry)) return true
    if (specials.includes(entry)) return false
    if (entry.includes('*')) return matchesWildcard(entry, name)
    return canonical(models, entry) === name
  })
}

/** Of the groups that the config falls back to, those that the key may use as well. */
function allowedFallbacks(models: Models, facts: KeyFacts, group: string): string[] | null {
  if (facts.modelLists.every((list) => list.length === 0)) return null
  const { config } = models
  const { fallbacks, contextWindowFallbacks, contentPolicyFallbacks, defaultFallbacks } = config
  const all = [fallbacks[group], fallbacks['*'], contextWindowFallbacks[group]]
  const chain = [...all, contentPolicyFallbacks[group], defaultFallbacks].flatMap(
    (one) => one ?? [],
  )
  return [...new Set(chain)].filter((one) => listsThatRefuse(models, facts, one).length === 0)
}

function denied(requested: string, lists: readonly string[][]): PenstockError {
  const shown = lists.map((list) => list.map((one) => `\`${one}\``).join(', '))
  const message = `The API key may not use the model \`${requested}\`: it is limited to ${shown.join(', and to ')}.`
  return new PenstockError('model_access_denied', message, { param: 'model' })
}

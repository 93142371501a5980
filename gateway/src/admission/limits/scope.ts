// Whose limits a request has to keep: those of its key, team and user, over all their requests and
// by model.
import { matchesWildcard } from '@penstock/shared/config/resolve-group'
import type { KeyFacts, LimitedScope, RateLimits } from '@penstock/shared/contracts/access'

/** What is counted together. */
export interface Scope {
  /** Of no other scope. */
  id: string
  kind: LimitedScope['kind']
  owner: string
  /** As the limit names it, a pattern too (`openai/*`); '' for all requests. */
  model: string
  limits: RateLimits
}

/**
 * @param names what the requested model is called: its model group, and the model itself
 * @returns every scope whose limit the request counts against
 */
export function scopesOf({ limits }: KeyFacts, names: readonly string[]): Scope[] {
  const scopes: Scope[] = []
  const add = ({ kind, owner }: LimitedScope, model: string, found: RateLimits) => {
    if (found.rpm === null && found.tpm === null && found.maxParallel === null) return
    const id = [kind, owner, model].map(encodeURIComponent).join(':')
    scopes.push({ id, kind, owner, model, limits: found })
  }
  for (const one of limits) {
    add(one, '', one.all)
    for (const [model, found] of Object.entries(one.models)) {
      if (names.some((name) => isMeant(model, name))) add(one, model, found)
    }
  }
  return scopes
}

function isMeant(model: string, name: string): boolean {
  return model === name || (model.includes('*') && matchesWildcard(model, name))
}

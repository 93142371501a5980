// Which requests are equal: the hash of the body, whatever the order of its fields, without those that
// say nothing of the answer, and of everything beside the body that the answer depends on.
import { createHash } from 'node:crypto'

export interface CacheIdentity {
  /** Whose cache it is: `team:…`, `key:…`, or nobody's in particular. */
  scope: string
  /** The config's, and within it the request's. */
  namespaces: readonly [string, string]
  operation: string
  dialect: string
  /** Of the client's that its dialect's upstreams see: they may ask for another form of answer. */
  headers: Readonly<Record<string, string>>
  /** With aliases resolved: two keys may mean different models by one name. */
  model: string
  local: boolean
  stream: boolean
  /** Model groups that may answer in place of the one asked for; null: any. */
  allowedGroups: readonly string[] | null
  /** Then an answer may be cut short that would go on for another key. */
  hasBudget: boolean
}

/** For the queue, for the books and for the cache itself. `model` is in the identity, resolved. */
const notOfTheAnswer = new Set([
  'model',
  'cache',
  'user',
  'metadata',
  'priority',
  'service_tier',
  'safety_identifier',
  'prompt_cache_key',
])

/** SHA-256 in hex. A body that is no JSON object is taken as it is. */
export function cacheKeyOf(identity: CacheIdentity, body: Buffer): string {
  const { scope, namespaces, operation, dialect, model, local, stream, allowedGroups } = identity
  const { hasBudget, headers } = identity
  const of = [scope, ...namespaces, operation, dialect, model]
  const facts = [...of, local, stream, allowedGroups, hasBudget, Object.entries(headers).sort()]
  const hash = createHash('sha256').update(JSON.stringify(facts)).update('\n')
  const fields = fieldsOf(body)
  if (fields === null) hash.update(body)
  else hash.update(canonicalText(fields))
  return hash.digest('hex')
}

function fieldsOf(body: Buffer): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'))
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return null
    return Object.fromEntries(Object.entries(parsed).filter(([name]) => !notOfTheAnswer.has(name)))
  } catch {
    return null
  }
}

/** JSON with the fields of each object in order. The depth is bounded where the body is read. */
function canonicalText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, inner]) => `${JSON.stringify(name)}:${canonicalText(inner)}`).join()}}`
}

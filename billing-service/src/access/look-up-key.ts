// Whose key is this, and what may it do: answered from the key, its team, its user and their accounts
// in one statement, and so as of one moment and one access version.
import type {
  KeyFacts,
  KeyLookup,
  keyLookupReply,
  LimitedScope,
  RateLimits,
} from '@penstock/shared/contracts/access'
import { type Kysely, sql } from 'kysely'
import type { z } from 'zod'
import type { ModelLimits } from '../access-tables.ts'
import type { Database } from '../database.ts'
import { otherSecret } from './key-secret.ts'

interface Holder {
  blocked: boolean
  models: string[]
  tags: string[]
  store_prompts: boolean | null
  rpm_limit: number | null
  tpm_limit: number | null
  max_parallel_requests: number | null
  model_limits: ModelLimits
  aliases: Record<string, string>
}

interface FoundRow {
  version: string
  secret_fingerprint: string | null
  has_keys: boolean
  key_id: string | null
  key_alias: string | null
  user_id: string | null
  team_id: string | null
  expires_at: Date | null
  holder: Holder
  team: Holder | null
  app_user: Holder | null
  accounts: KeyFacts['accounts']
  spent: string
  remaining: string | null
}

/**
 * @throws PenstockError `service_unavailable` for an unknown key of a gateway with another secret
 */
export async function lookUpKey(
  db: Kysely<Database>,
  question: KeyLookup,
): Promise<z.input<typeof keyLookupReply>> {
  const row = await find(db, question)
  if (row === null) return { facts: null, version: 0 }
  const version = Number(row.version)
  if (row.key_id !== null) return { facts: factsOf(row, row.key_id), version }
  if ('keyId' in question) return { facts: null, version }
  const { secretFingerprint } = question
  const isOther = secretFingerprint !== undefined && secretFingerprint !== row.secret_fingerprint
  if (isOther && row.has_keys) throw otherSecret()
  return { facts: null, version }
}

/** The columns that keys, teams and users have in common; a shared budget's where they have none. */
const holder = (table: string, budget: string, aliases: string) => {
  const column = (name: string) => sql.ref(`${table}.${name}`)
  const limit = (name: string) => sql`coalesce(${column(name)}, ${sql.ref(`${budget}.${name}`)})`
  return sql`json_build_object(
    'blocked', ${column('blocked')}, 'models', ${column('models')}, 'tags', ${column('tags')},
    'store_prompts', ${column('store_prompts')}, 'rpm_limit', ${limit('rpm_limit')},
    'tpm_limit', ${limit('tpm_limit')},
    'max_parallel_requests', ${limit('max_parallel_requests')},
    'model_limits', ${column('model_limits')}, 'aliases', ${sql.raw(aliases)})`
}

const isIt = (question: KeyLookup) =>
  'keyId' in question
    ? sql`k.key_id = ${question.keyId}`
    : sql`k.secret_hash = decode(${question.secretHash}, 'hex')`

const statementOf = (question: KeyLookup) => sql<FoundRow>`
  select s.version, s.secret_fingerprint, exists (select from api_key) as has_keys,
    k.key_id, k.key_alias, k.user_id, k.team_id, k.expires_at,
    ${holder('k', 'kb', 'k.aliases')} as holder,
    case when t.team_id is not null then ${holder('t', 'tb', 't.aliases')} end as team,
    case when u.user_id is not null then ${holder('u', 'ub', `'{}'::json`)} end as app_user,
    coalesce(paying.accounts, '[]') as accounts,
    coalesce(own.spent, 0) as spent,
    greatest(own.max_amount - own.spent, 0) as remaining
  from access_state s
    left join api_key k on ${isIt(question)}
    left join team t on t.team_id = k.team_id
    left join app_user u on u.user_id = k.user_id
    left join budget kb on kb.budget_id = k.budget_id
    left join budget tb on tb.budget_id = t.budget_id
    left join budget ub on ub.budget_id = u.budget_id
    left join lateral (
      select max_amount,
        case when resets_at <= now() then 0 else greatest(period_amount, 0) end as spent
      from account where kind = 'key' and owner = k.key_id and model = '') as own on true
    left join lateral (
      select json_agg(json_build_object('kind', kind, 'owner', owner, 'model', model,
        'hasMoney', max_amount is not null, 'hasTokens', max_tokens is not null)
        order by kind, owner, model) as accounts
      from account
      where (max_amount is not null or max_tokens is not null) and (kind, owner) in (
        ('key', k.key_id), ('team', k.team_id), ('user', k.user_id),
        ('member', k.team_id || '/' || k.user_id))) as paying on true`

async function find(db: Kysely<Database>, question: KeyLookup): Promise<FoundRow | null> {
  const { rows } = await statementOf(question).execute(db)
  return rows[0] ?? null
}

function factsOf(row: FoundRow, keyId: string): KeyFacts {
  const { holder: key, team, app_user: user, team_id: teamId, user_id: userId } = row
  const held = [key, team, user].filter((one) => one !== null)
  const limits: LimitedScope[] = []
  const limited = (kind: LimitedScope['kind'], owner: string | null, one: Holder | null) => {
    if (owner !== null && one !== null && isLimited(one)) limits.push(scopeOf(kind, owner, one))
  }
  limited('key', keyId, key)
  limited('team', teamId, team)
  limited('user', userId, user)
  return {
    keyId,
    keyAlias: row.key_alias,
    userId,
    teamId,
    expiresAt: row.expires_at?.getTime() ?? null,
    blocked: key.blocked ? 'key' : team?.blocked ? 'team' : user?.blocked ? 'user' : null,
    modelLists: held.map((one) => one.models).filter((models) => models.length > 0),
    aliases: { ...team?.aliases, ...key.aliases },
    tags: [...new Set([...key.tags, ...(team?.tags ?? [])])],
    storePrompts: held.find((one) => one.store_prompts !== null)?.store_prompts ?? null,
    limits,
    accounts: row.accounts,
    spent: row.spent,
    remaining: row.remaining,
  }
}

function isLimited({ rpm_limit, tpm_limit, max_parallel_requests, model_limits }: Holder): boolean {
  const own = [rpm_limit, tpm_limit, max_parallel_requests]
  return own.some((limit) => limit !== null) || Object.keys(model_limits).length > 0
}

function scopeOf(kind: LimitedScope['kind'], owner: string, one: Holder): LimitedScope {
  const models = Object.entries(one.model_limits)
  return {
    kind,
    owner,
    all: limitsOf(one),
    models: Object.fromEntries(models.map(([model, limits]) => [model, limitsOf(limits)])),
  }
}

function limitsOf(one: Partial<Pick<Holder, keyof ModelLimits[string]>>): RateLimits {
  return {
    rpm: one.rpm_limit ?? null,
    tpm: one.tpm_limit ?? null,
    maxParallel: one.max_parallel_requests ?? null,
  }
}

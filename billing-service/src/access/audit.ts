// The audit log: who changed what, and how it was before and after. Written in the transaction of the
// change, so that there is neither without the other.
import type { Actor, AdminOperationName } from '@penstock/shared/contracts/admin'
import type { AdminTransaction } from './admin-context.ts'

type Fields = Readonly<Record<string, unknown>>

export interface AuditEntry {
  kind: 'key' | 'team' | 'user' | 'member' | 'budget' | 'ledger' | 'retention'
  /** Public ids only. */
  id: string
  /** As replies show it; null: it is new. */
  before: Fields | null
  /** Null: it is gone. */
  after: Fields | null
}

/**
 * Where an object stood in spending is no part of a change; the masked key would show four of its
 * letters for ever.
 */
const leftOut = new Set([
  'key_name',
  'spend',
  'reserved',
  'tokens_spent',
  'total_spend',
  'model_spend',
  'budget_reset_at',
  'updated_at',
])

export async function writeAudit(
  trx: AdminTransaction,
  actor: Actor,
  operation: AdminOperationName,
  correlationId: string,
  entry: AuditEntry,
): Promise<void> {
  const [before, after] = difference(entry.before, entry.after)
  await trx
    .insertInto('audit_log')
    .values({
      actor_role: actor.role,
      actor_key_id: actor.keyId,
      actor_user_id: actor.userId,
      correlation_id: correlationId,
      operation,
      object_kind: entry.kind,
      object_id: entry.id,
      before: before === null ? null : JSON.stringify(before),
      after: after === null ? null : JSON.stringify(after),
    })
    .execute()
}

/** Of a change only the fields that differ; of what is new or gone, all. */
export function difference(
  before: Fields | null,
  after: Fields | null,
): [Fields | null, Fields | null] {
  const was = before === null ? null : withoutStanding(before)
  const is = after === null ? null : withoutStanding(after)
  if (was === null || is === null) return [was, is]
  const names = [...new Set([...Object.keys(was), ...Object.keys(is)])]
  const changed = names.filter((name) => JSON.stringify(was[name]) !== JSON.stringify(is[name]))
  const only = (fields: Fields) =>
    Object.fromEntries(changed.map((name) => [name, fields[name] ?? null]))
  return [only(was), only(is)]
}

function withoutStanding(fields: Fields): Fields {
  const kept = Object.entries(fields).filter(([name]) => !leftOut.has(name))
  return Object.fromEntries(
    kept.map(([name, value]) => [name, name === 'model_max_budget' ? inner(value) : value]),
  )
}

function inner(models: unknown): unknown {
  if (typeof models !== 'object' || models === null) return models
  return Object.fromEntries(
    Object.entries(models).map(([model, budget]) => [
      model,
      typeof budget === 'object' && budget !== null ? withoutStanding({ ...budget }) : budget,
    ]),
  )
}

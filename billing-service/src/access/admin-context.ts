// What a handler of an admin operation works with: one transaction, who asks, and the two things that
// every handler must do: ask for permission, and say what it changed.
import type {
  Actor,
  AdminOperationName,
  adminOperations,
  NewKey,
} from '@penstock/shared/contracts/admin'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Transaction } from 'kysely'
import type { z } from 'zod'
import type { Database } from '../database.ts'
import type { AuditEntry } from './audit.ts'
import type { Relation } from './policy.ts'

export type AdminTransaction = Transaction<Database>

export interface AdminContext {
  trx: AdminTransaction
  actor: Actor
  operation: AdminOperationName
  newKey: NewKey | null
  /** The config's: of budgets that name none. */
  timezone: string
  /**
   * Every handler calls this before it reads out or changes anything; what answers without having
   * asked is an error.
   * @throws PenstockError `permission_denied`
   */
  permit(held: readonly Relation[]): void
  /** Records a change of one object; keys and hashes stay out. */
  audit(entry: AuditEntry): Promise<void>
}

type Params<N extends AdminOperationName> = z.output<(typeof adminOperations)[N]['params']>
type Reply<N extends AdminOperationName> = z.input<(typeof adminOperations)[N]['reply']>

export type Handler<N extends AdminOperationName> = (
  context: AdminContext,
  params: Params<N>,
) => Promise<Reply<N>>

/** A handler for each operation of a table like `keyOperations`. */
export type HandlersOf<T> = { [N in keyof T & AdminOperationName]: Handler<N> }

/** As `created_by` shows it: the asker's user, or else its key. */
export function nameOf({ userId, keyId }: Actor): string | null {
  return userId ?? keyId
}

/** @throws PenstockError `internal_error`: the gateway sent none */
export function newKeyOf({ newKey, operation }: AdminContext): NewKey {
  if (newKey !== null) return newKey
  throw new PenstockError('internal_error', `${operation} came without a new key.`)
}

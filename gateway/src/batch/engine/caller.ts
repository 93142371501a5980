// Who a batch's lines are asked for: its creator, by what its key may do now, not when it was made. A key
// that is regenerated meanwhile is still the same key.
import type { KeyCache } from '../../access/key-cache.ts'
import { holderOf, type Identity } from '../../auth.ts'
import type { BatchRow } from '../store/database.ts'

/**
 * @returns at once where the key is remembered
 * @throws PenstockError, or its promise: `authentication_failed`, `key_expired`; `service_unavailable`
 *   where the key cannot be looked up
 */
export function callerOf(
  keys: Pick<KeyCache, 'holder'>,
  { by_admin, key_id, user_id, team_id }: BatchRow,
): Identity | Promise<Identity> {
  if (by_admin || key_id === null) {
    const caller = { keyId: key_id, userId: user_id, teamId: team_id }
    return { caller, admin: true, actor: { role: 'master', ...caller }, facts: null }
  }
  const found = keys.holder(key_id)
  if (found instanceof Promise) return found.then((facts) => holderOf(facts, Date.now()))
  return holderOf(found, Date.now())
}

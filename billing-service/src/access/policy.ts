// THE table of who may do what in the admin API. Pure: what an asker is to an object is found out
// elsewhere (relations.ts). The master may do everything; the holder of a key what stands here.
import type { AdminOperationName } from '@penstock/shared/contracts/admin'

/**
 * What a key's holder is to the object of an operation. `self`: the key, or the user, is the asker's
 * own. `same-user`: another key of the asker's user. `team-admin`, `team-member`: of the team, of the
 * key's team, or of a team of the user. `other`: nothing, or there is no such object. `none`: the
 * operation has no one object, and its answer is limited to what the asker may see.
 */
export const relations = [
  'self',
  'same-user',
  'team-admin',
  'team-member',
  'other',
  'none',
] as const
export type Relation = (typeof relations)[number]

export type Role = 'master' | 'key'

/** For holders of keys: any one of these relations is enough. */
const table: Record<AdminOperationName, readonly Relation[]> = {
  // A team admin manages the keys of its team; everybody else sees only what is its own.
  'key.generate': ['team-admin'],
  'key.info': ['self', 'same-user', 'team-admin'],
  'key.list': ['none'],
  'key.update': ['team-admin'],
  'key.regenerate': ['team-admin'],
  'key.block': ['team-admin'],
  'key.unblock': ['team-admin'],
  'key.delete': ['team-admin'],

  // Limits of a team are set by the master: an admin of the team is held to them.
  'team.new': [],
  'team.info': ['team-admin', 'team-member'],
  'team.update': [],
  'team.delete': [],
  'team.list': ['none'],
  'team.member_add': ['team-admin'],
  'team.member_update': ['team-admin'],
  'team.member_delete': ['team-admin'],
  'team.block': [],
  'team.unblock': [],

  'user.new': [],
  'user.info': ['self'],
  'user.update': [],
  'user.delete': [],
  'user.list': [],

  'budget.new': [],
  'budget.info': [],
  'budget.update': [],
  'budget.list': [],
  'budget.delete': [],

  'audit.list': [],

  'spend.rebuild': [],
  'spend.correct': [],
}

export function mayDo(
  role: Role,
  operation: AdminOperationName,
  held: readonly Relation[],
): boolean {
  return role === 'master' || held.some((relation) => table[operation].includes(relation))
}

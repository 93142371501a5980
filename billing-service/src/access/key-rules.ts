// What must hold for a key, whoever makes or changes it: its team exists and allows its models, its
// user exists, its alias is its own.
import { matchesWildcard } from '@penstock/shared/config/resolve-group'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type AdminContext, nameOf } from './admin-context.ts'
import { relationToTeam } from './relations.ts'

/** A key as it is going to be. */
export interface KeyPlan {
  teamId: string | null
  userId: string | null
  models: readonly string[]
}

/** LiteLLM's entries that stand for whatever the team allows, or for nothing. */
const withinAnyTeam = new Set(['all-team-models', 'no-default-models'])
const everyModel = new Set(['all-proxy-models', '*'])

/**
 * A team admin may make keys for its own team and the team's members only.
 * @throws PenstockError `permission_denied`; `not_found` naming team_id; `invalid_request` naming
 *   user_id or models
 */
export async function checkPlan(context: AdminContext, plan: KeyPlan): Promise<void> {
  const { trx, actor } = context
  const { teamId, userId } = plan
  if (teamId === null) {
    context.permit(['other'])
  } else {
    context.permit(await relationToTeam(trx, actor, teamId))
    const team = await trx
      .selectFrom('team')
      .select('models')
      .where('team_id', '=', teamId)
      .executeTakeFirst()
    if (team === undefined) {
      const message = `There is no team ${teamId}.`
      throw new PenstockError('not_found', message, { param: 'team_id' })
    }
    checkModels(plan.models, team.models, teamId)
  }
  if (userId === null) return
  if (actor.role === 'master') await ensureUser(context, userId)
  else await checkMember(context, teamId, userId)
}

/** @throws PenstockError `invalid_request` naming models */
export function checkModels(
  models: readonly string[],
  ofTeam: readonly string[],
  teamId: string,
): void {
  if (ofTeam.length === 0 || ofTeam.some((entry) => everyModel.has(entry))) return
  const stranger = models.find((model) => !withinAnyTeam.has(model) && !isWithin(model, ofTeam))
  if (stranger === undefined) return
  const message = `Invalid request: models: the team ${teamId} may not use ${stranger}.`
  throw new PenstockError('invalid_request', message, { param: 'models' })
}

/** A pattern is within another that matches its text: `openai/gpt-*` within `openai/*`. */
function isWithin(model: string, list: readonly string[]): boolean {
  return list.some(
    (entry) => entry === model || (entry.includes('*') && matchesWildcard(entry, model)),
  )
}

async function checkMember(
  { trx }: AdminContext,
  teamId: string | null,
  userId: string,
): Promise<void> {
  const member = await trx
    .selectFrom('team_member')
    .select('user_id')
    .where('team_id', '=', teamId)
    .where('user_id', '=', userId)
    .executeTakeFirst()
  if (member !== undefined) return
  const message = `Invalid request: user_id: ${userId} is not a member of the team.`
  throw new PenstockError('invalid_request', message, { param: 'user_id' })
}

/** As LiteLLM does: a user that is named first with a key is made with it. */
async function ensureUser(context: AdminContext, userId: string): Promise<void> {
  const made = await context.trx
    .insertInto('app_user')
    .values({ user_id: userId, created_by: nameOf(context.actor) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('user_id')
    .executeTakeFirst()
  if (made === undefined) return
  await context.audit({ kind: 'user', id: userId, before: null, after: { user_id: userId } })
}

/**
 * @param keyId the key that may have the alias already
 * @throws PenstockError `conflict` naming key_alias
 */
export async function checkAlias(
  { trx }: AdminContext,
  alias: string | null | undefined,
  keyId: string | null,
): Promise<void> {
  if (alias === null || alias === undefined) return
  const holder = await trx
    .selectFrom('api_key')
    .select('key_id')
    .where('key_alias', '=', alias)
    .executeTakeFirst()
  if (holder === undefined || holder.key_id === keyId) return
  const message = `Another key has the key_alias ${alias}.`
  throw new PenstockError('conflict', message, { param: 'key_alias' })
}

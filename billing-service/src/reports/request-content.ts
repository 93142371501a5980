// GET /spend/logs/{request_id}/content: prompt and reply of a request's attempts, where they were kept.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { RequestContent, RequestContentQuery } from '@penstock/shared/contracts/spend'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import { scopeOf, withinScope } from './scope.ts'

/** At 24 KB each, twice that as JSON in JSON, these fit into one message. */
const maxAttempts = 12

/**
 * @throws PenstockError `not_found` if there is no such request among those that the actor may see;
 *   whether there is one among the others is not told
 */
export async function requestContent(
  db: Kysely<Database>,
  { actor, request_id: requestId }: RequestContentQuery,
): Promise<RequestContent> {
  const rows = await db
    .selectFrom('request_log')
    .leftJoin('request_content', (join) =>
      join
        .onRef('request_content.received_at', '=', 'request_log.received_at')
        .onRef('request_content.request_id', '=', 'request_log.request_id')
        .onRef('request_content.attempt', '=', 'request_log.attempt'),
    )
    .select(['request_log.attempt', 'status', 'model_group', 'request', 'reply', 'truncated'])
    .select('request_log.received_at')
    .where('request_log.request_id', '=', requestId)
    .where(withinScope(await scopeOf(db, actor)))
    .orderBy('request_log.attempt')
    .limit(maxAttempts)
    .execute()
  if (rows.length === 0) {
    throw new PenstockError('not_found', 'There is no such request.', { param: 'request_id' })
  }
  return {
    attempts: rows.flatMap(({ attempt, status, model_group, request, reply, ...row }) => {
      // Of one that was kept none of these is null.
      if (request === null || reply === null) return []
      const startTime = row.received_at.toISOString()
      const truncated = row.truncated === true
      return [{ attempt, status, model_group, startTime, request, reply, truncated }]
    }),
  }
}

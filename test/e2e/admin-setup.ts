// What the tests of teams, users and budgets share: a billing service on real servers, asked on the
// bus by the master or by the holder of a key.
import { recordUsage } from '@penstock/billing-service/record-usage'
import { startBilling } from '@penstock/billing-service/start-billing'
import { connectBus } from '@penstock/shared/bus/connect'
import type { Actor, AdminOperationName } from '@penstock/shared/contracts/admin'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { createAdmin } from '../harness/admin.ts'
import { silent, startServers } from '../harness/servers.ts'

export type Params = Record<string, unknown>
export type AdminSetup = Awaited<ReturnType<typeof startAdmin>>

export async function startAdmin() {
  const servers = await startServers()
  const { natsUrl, databaseUrl, db } = servers
  const billing = await startBilling({ natsUrl, databaseUrl, log: silent })
  const bus = await connectBus({ natsUrl, name: 'test', log: silent })
  const admin = createAdmin(bus)
  const asMaster = <N extends AdminOperationName>(operation: N, params: Params) =>
    admin.ask(operation, params)
  return {
    ...admin,
    db,
    asMaster,
    as: <N extends AdminOperationName>(actor: Actor, operation: N, params: Params) =>
      admin.ask(operation, params, { as: actor }),
    accountOf: (kind: 'key' | 'team' | 'user' | 'member', owner: string, model = '') =>
      db
        .selectFrom('account')
        .selectAll()
        .where('kind', '=', kind)
        .where('owner', '=', owner)
        .where('model', '=', model)
        .executeTakeFirst(),
    /** Oldest first. */
    async auditOf(kind: string, id: string) {
      const { data } = await asMaster('audit.list', { object_kind: kind, object_id: id })
      return data.toReversed()
    },
    /** Records usage of the caller. Answers what it cost, in US dollars. */
    async spendAs(teamId: string | null, userId: string | null): Promise<number> {
      const caller = { keyId: 'key_spender', userId, teamId, endUser: null }
      const requestId = `${teamId} ${userId}`
      await recordUsage(db, [usageEventOf({ requestId, caller, receivedAt: Date.now() })])
      const entry = db.selectFrom('ledger').select('amount').where('request_id', '=', requestId)
      return Number((await entry.executeTakeFirstOrThrow()).amount) / 1e12
    },
    async close() {
      await bus.close()
      await billing.close()
      await servers.close()
    },
  }
}

export function holder(userId: string, keyId = 'key_x'): Actor {
  return { role: 'key', keyId, userId, teamId: null }
}

/** For `assert.rejects`: with this code, and about this parameter. */
export const about =
  (code: string, param: string) => (error: { code: string; info: { param: string } }) =>
    error.code === code && error.info.param === param

// What the tests of keys share: two billing services on real servers, which answer as one, asked on the
// bus without a gateway.
import assert from 'node:assert/strict'
import { startBilling } from '@penstock/billing-service/start-billing'
import { connectBus } from '@penstock/shared/bus/connect'
import type { Actor } from '@penstock/shared/contracts/admin'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { sql } from 'kysely'
import { createAdmin } from '../harness/admin.ts'
import { silent, startServers } from '../harness/servers.ts'

export type KeysSetup = Awaited<ReturnType<typeof startKeys>>

export async function startKeys() {
  const servers = await startServers()
  const { natsUrl, databaseUrl, db } = servers
  const settings = {
    timezone: 'Europe/Berlin',
    retention: { requestLogMs: null, promptsMs: null },
  }
  const options = { natsUrl, databaseUrl, log: silent, settings }
  const services = await Promise.all([startBilling(options), startBilling(options)])
  const bus = await connectBus({ natsUrl, name: 'test', log: silent })
  return {
    db,
    bus,
    admin: createAdmin(bus),
    /** For a test to begin with; the ledger stays. */
    async clear(): Promise<void> {
      const tables = sql`api_key, team, app_user, team_member, budget, account, audit_log`
      await sql`truncate ${tables}`.execute(db)
    },
    async team(team_id: string, models: string[] = []): Promise<void> {
      await db.insertInto('team').values({ team_id, models }).execute()
    },
    /** The user too, if there is none. */
    async member(team_id: string, user_id: string, role: 'admin' | 'user'): Promise<void> {
      await db
        .insertInto('app_user')
        .values({ user_id })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      await db.insertInto('team_member').values({ team_id, user_id, role }).execute()
    },
    async version(): Promise<number> {
      const state = db.selectFrom('access_state').select('version')
      return Number((await state.executeTakeFirstOrThrow()).version)
    },
    async close(): Promise<void> {
      await Promise.all(services.map((service) => service.close()))
      await bus.close()
      await servers.close()
    },
  }
}

/** Who asks with a key. */
export function holderOf(
  keyId: string,
  userId: string | null = null,
  teamId: string | null = null,
): Actor {
  return { role: 'key', keyId, userId, teamId }
}

/** The code of the refusal, and the parameter that it is about. */
export async function refused(asked: Promise<unknown>): Promise<[string, string | null]> {
  try {
    await asked
  } catch (error) {
    assert.ok(error instanceof PenstockError, String(error))
    return [error.code, error.info.param]
  }
  assert.fail('it was not refused')
}

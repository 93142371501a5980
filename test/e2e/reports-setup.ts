// What the tests of reports share: Penstock on real servers, keys of two teams, and the usage that
// it is asked about. $0.10 a token, so that sums are easy to follow.
import assert from 'node:assert/strict'
import type { Database } from '@penstock/billing-service/database'
import { recordUsage } from '@penstock/billing-service/record-usage'
import { createSecret } from '@penstock/gateway/access/secret'
import type { UsageEvent } from '@penstock/shared/contracts/usage'
import { tokens, usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import { type Client, createClient } from '../harness/client.ts'
import { startServers } from '../harness/servers.ts'
import { startStack, testSecret } from '../harness/stack.ts'

/** Who has which key: `boss` is an admin of the team `red`, `ann` a member; `bob` is in `blue`. */
const holders = {
  ann: { userId: 'ann', teamId: 'red' },
  boss: { userId: 'boss', teamId: null },
  bob: { userId: 'bob', teamId: 'blue' },
} as const
export type Holder = keyof typeof holders

export interface Reports {
  db: Kysely<Database>
  master: Client
  as: Record<Holder, Client>
  close(): Promise<void>
}

export async function startReports(): Promise<Reports> {
  const servers = await startServers()
  const { db } = servers
  await addHolders(db)
  const stack = await startStack({
    servers,
    config: {
      general_settings: { master_key: 'sk-master-of-the-reports' },
      model_list: [{ model_name: 'lorem', litellm_params: { model: 'sim/lorem' } }],
      penstock_settings: { store_prompts: true },
    },
  })
  const clientOf = (holder: Holder) => createClient(stack.url, keyOf(holder))
  const as = { ann: clientOf('ann'), boss: clientOf('boss'), bob: clientOf('bob') }
  return {
    db,
    master: stack.client,
    as,
    async close() {
      for (const client of Object.values(as)) await client.close()
      await stack.close()
      await servers.close()
    },
  }
}

export function keyOf(holder: Holder): string {
  return `sk-the-key-of-${holder}`
}

async function addHolders(db: Kysely<Database>): Promise<void> {
  const secret = createSecret(testSecret)
  const limits = { budget_id: null, rpm_limit: null, tpm_limit: null, max_parallel_requests: null }
  const plain = { ...limits, store_prompts: null, created_by: null }
  for (const team of ['red', 'blue']) {
    const names = { team_id: team, team_alias: `Team ${team}`, organization_id: null }
    await db
      .insertInto('team')
      .values({ ...plain, ...names })
      .execute()
  }
  for (const [name, { userId, teamId }] of Object.entries(holders)) {
    const user = { user_id: userId, user_alias: null, user_email: `${userId}@example.org` }
    await db
      .insertInto('app_user')
      .values({ ...plain, ...user })
      .execute()
    const key = `sk-the-key-of-${name}`
    await db
      .insertInto('api_key')
      .values({
        ...plain,
        key_id: `key_${name}`,
        secret_hash: secret.digestOf(key),
        key_name: 'sk-...',
        key_alias: `the key of ${name}`,
        user_id: userId,
        team_id: teamId,
        expires_at: null,
        regenerated_at: null,
      })
      .execute()
  }
  for (const [user_id, role] of [
    ['boss', 'admin'],
    ['ann', 'user'],
  ] as const) {
    await db.insertInto('team_member').values({ team_id: 'red', user_id, role }).execute()
  }
}

/** One answered request of $0.10 a prompt token. */
export function spent(
  requestId: string,
  holder: Holder,
  day: string,
  promptTokens: number,
  changes: Partial<UsageEvent> = {},
): UsageEvent {
  const { userId, teamId } = holders[holder]
  return usageEventOf({
    requestId,
    receivedAt: Date.parse(day.length === 10 ? `${day}T12:00:00Z` : day),
    caller: { keyId: `key_${holder}`, userId, teamId, endUser: null },
    priceRef: null,
    prices: { inputCostPerToken: 0.1 },
    usage: tokens(promptTokens, 0),
    ...changes,
  })
}

export async function record({ db }: Reports, events: readonly UsageEvent[]): Promise<void> {
  await recordUsage(db, events)
}

/** What the tests ask about. */
export const may: readonly UsageEvent[] = [
  spent('a1', 'ann', '2026-05-01', 1, { tags: ['night'], group: 'small', model: 'm1' }),
  spent('a2', 'ann', '2026-05-02', 2, { status: 'failure', model: 'm2' }),
  spent('a3', 'ann', '2026-05-02', 4, { tags: ['night', 'eval'], provider: 'ollama' }),
  spent('b1', 'bob', '2026-05-01', 8, { tags: ['eval'], model: 'm1' }),
  spent('b2', 'bob', '2026-05-03', 16, { model: 'm2' }),
  spent('c1', 'boss', '2026-05-02', 32, { model: 'm1' }),
  // On ann's team, through a key that has been deleted.
  spent('d1', 'ann', '2026-05-03', 64, {
    caller: { keyId: 'key_gone', userId: 'gil', teamId: 'red', endUser: 'e1' },
  }),
]

export async function rows(client: Client, path: string): Promise<Record<string, unknown>[]> {
  const answer = await client.get(path)
  assert.equal(answer.status, 200, answer.text)
  return z.array(z.record(z.string(), z.unknown())).parse(answer.json)
}

/** Of an answer about daily activity. */
export interface Activity {
  results: {
    date: string
    metrics: object
    breakdown: Record<string, Record<string, object>>
  }[]
  metadata: Record<string, unknown>
}

// The access version: counted up by every change of keys, teams, users and budgets, in the change's own
// transaction, and told to the gateways, which then forget what they knew.
import { broadcast } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { channels } from '@penstock/shared/contracts/channels'
import type { Kysely } from 'kysely'
import type { Database } from '../database.ts'
import type { AdminTransaction } from './admin-context.ts'

/** Revocation is effective everywhere within a second, even where the first broadcast is lost. */
const everyMs = 500

export interface VersionAnnouncer {
  /** After the commit. */
  changed(version: number): void
  close(): void
}

/**
 * The first statement of every change: the row's lock puts all changes in one order, in which they
 * commit, and keeps them from standing in each other's way.
 */
export async function bumpVersion(trx: AdminTransaction): Promise<number> {
  const { version } = await trx
    .updateTable('access_state')
    .set((eb) => ({ version: eb('version', '+', '1') }))
    .returning('version')
    .executeTakeFirstOrThrow()
  return Number(version)
}

/** Changes by other billing services, and by hand, are told as well: the version is read each time. */
export function announceVersions(bus: Bus, db: Kysely<Database>): VersionAnnouncer {
  let reading = false
  let closed = false

  async function read(): Promise<void> {
    reading = true
    try {
      const state = await db.selectFrom('access_state').select('version').executeTakeFirst()
      if (state !== undefined && !closed) tell(Number(state.version))
    } catch {
      // The watch of the database says what is wrong with it; the next reading comes soon.
    } finally {
      reading = false
    }
  }
  const tell = (version: number) => broadcast(bus, channels.access, { version })
  const timer = setInterval(() => {
    if (!reading) void read()
  }, everyMs)
  return {
    changed: tell,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}

// What all routes of files and batches have in common: who asks, and the database without which there
// are none.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Request, RequestHandler, Response } from 'express'
import type { Kysely } from 'kysely'
import type { Gateway } from '../../gateway.ts'
import type { BatchQueue } from '../queue.ts'
import type { Storage } from '../storage/storage.ts'
import type { BatchDatabase } from '../store/database.ts'
import type { Owner, OwnerFilter } from '../store/files.ts'

/** Of a gateway that has a database. */
export interface BatchAccess {
  db: Kysely<BatchDatabase>
  storage: Storage
  /** Opened when it is first asked for. */
  queue(): Promise<BatchQueue>
}

export interface Asker {
  /** Whose the files and batches are that it makes. */
  owner: Owner
  /** Whose files and batches there are for it. */
  sees: OwnerFilter
  admin: boolean
}

export type BatchHandler = (
  req: Request,
  res: Response,
  access: BatchAccess,
  asker: Asker,
) => Promise<void>

export function batchRoute(gateway: Gateway, handle: BatchHandler): RequestHandler {
  return async (req, res) => {
    const { admin, caller } = await gateway.authenticate(req)
    const { batch } = gateway
    if (batch === null) {
      const message = 'Files and batches need a database: set DATABASE_URL for the gateway.'
      throw new PenstockError('service_unavailable', message)
    }
    const sees = admin ? null : { keyId: caller.keyId ?? '' }
    await handle(req, res, batch, { owner: caller, sees, admin })
  }
}

/** OpenAI's list; `rows` may hold one more than `limit`, which tells that there are more. */
export function listObject<R, T extends { id: string }>(
  rows: readonly R[],
  limit: number,
  toObject: (row: R) => T,
) {
  const data = rows.slice(0, limit).map(toObject)
  return {
    object: 'list' as const,
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: rows.length > limit,
  }
}

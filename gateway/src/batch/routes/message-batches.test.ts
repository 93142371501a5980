import assert from 'node:assert/strict'
import { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
import type { Request, Response } from 'express'
import {
  type DatabaseConnection,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import type { Gateway } from '../../gateway.ts'
import type { BatchDatabase } from '../store/database.ts'
import { messageBatchRoutes } from './message-batches.ts'

function databaseWith(row: object): Kysely<BatchDatabase> {
  class Driver extends DummyDriver {
    override async acquireConnection(): Promise<DatabaseConnection> {
      return {
        executeQuery: async () => ({ rows: [row] as never[] }),
        async *streamQuery() {},
      }
    }
  }
  return new Kysely<BatchDatabase>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new Driver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
}

test('a client that leaves before its results begin leaves no file open', async () => {
  const line = JSON.stringify({ custom_id: 'a', response: null, error: { code: 'batch_expired' } })
  const file = Readable.from([Buffer.from(`${line}\n`.repeat(1000)), Buffer.from(`${line}\n`)])
  const res = Object.assign(new Writable({ write: (_chunk, _encoding, done) => done() }), {
    setHeader() {},
    locals: { correlationId: 'c' },
  })
  const batch = {
    batch_id: 'batch_1',
    status: 'completed',
    output_file_id: 'f',
    error_file_id: null,
  }
  const gateway = {
    authenticate: async () => ({ admin: true, caller: { keyId: null } }),
    batch: {
      db: databaseWith(batch),
      storage: {
        read: async () => {
          res.destroy()
          return file
        },
      },
    },
  } as unknown as Gateway
  const handle = messageBatchRoutes(gateway).results.at(-1)
  const req = { params: { message_batch_id: 'msgbatch_1' }, headers: {} } as unknown as Request
  await handle?.(req, res as unknown as Response, () => {})
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(file.destroyed, true)
})

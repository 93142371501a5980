import assert from 'node:assert/strict'
import { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
import type { Request, Response } from 'express'
import type { Gateway } from '../../gateway.ts'
import { scriptedDatabase } from '../fixtures/scripted-database.ts'
import { messageBatchRoutes } from './message-batches.ts'

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
      db: scriptedDatabase(() => [batch]),
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

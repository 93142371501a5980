import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scriptedDatabase } from './fixtures/scripted-database.ts'
import { sweepFiles } from './remove-files.ts'
import type { Storage } from './storage/storage.ts'

/** Says that these files are overdue, until they are forgotten. */
const databaseOf = (overdue: Set<string>) =>
  scriptedDatabase((sql, parameters) => {
    if (sql.startsWith('delete')) overdue.delete(String(parameters[0]))
    return sql.startsWith('update') ? [...overdue].map((file_id) => ({ file_id })) : []
  })

test('a file that cannot be removed keeps no other one from it', async () => {
  const overdue = new Set(['locked', 'other'])
  let swept = 0
  const storage: Pick<Storage, 'remove' | 'sweep'> = {
    remove: (key) => (key === 'locked' ? Promise.reject(new Error('locked')) : Promise.resolve()),
    async sweep() {
      swept += 1
    },
  }
  const places = { db: databaseOf(overdue), storage: storage as Storage }
  await assert.rejects(sweepFiles(places), /locked/)
  assert.deepEqual([...overdue], ['locked'])
  assert.equal(swept, 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { retryConflicts } from './retry-conflicts.ts'

const failure = (code: string) => Object.assign(new Error(code), { code })

test('a deadlock is tried again until it is none, another error at once thrown', async () => {
  let tries = 0
  const result = await retryConflicts(async () => {
    tries += 1
    if (tries < 3) throw failure(tries === 1 ? '40P01' : '40001')
    return 'done'
  })
  assert.deepEqual([result, tries], ['done', 3])
  await assert.rejects(
    retryConflicts(() => Promise.reject(failure('23505'))),
    { code: '23505' },
  )
})

test('it does not try for ever', async () => {
  let tries = 0
  const never = retryConflicts(async () => {
    tries += 1
    throw failure('40P01')
  })
  await assert.rejects(never, { code: '40P01' })
  assert.equal(tries, 5)
})

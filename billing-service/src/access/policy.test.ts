// The whole of the policy, cell by cell: every operation, every role, every relation.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type AdminOperationName, adminOperations } from '@penstock/shared/contracts/admin'
import { mayDo, type Relation, relations } from './policy.ts'

const columns = ['self', 'same-user', 'team-admin', 'team-member', 'other', 'none'] as const

/** For the holder of a key: `x` where it may, in the order of the columns above. */
const expected: Record<AdminOperationName, string> = {
  'key.generate': '..x...',
  'key.info': 'xxx...',
  'key.list': '.....x',
  'key.update': '..x...',
  'key.regenerate': '..x...',
  'key.block': '..x...',
  'key.unblock': '..x...',
  'key.delete': '..x...',
  'team.new': '......',
  'team.info': '..xx..',
  'team.update': '......',
  'team.delete': '......',
  'team.list': '.....x',
  'team.member_add': '..x...',
  'team.member_update': '..x...',
  'team.member_delete': '..x...',
  'team.block': '......',
  'team.unblock': '......',
  'user.new': '......',
  'user.info': 'x.....',
  'user.update': '......',
  'user.delete': '......',
  'user.list': '......',
  'budget.new': '......',
  'budget.info': '......',
  'budget.update': '......',
  'budget.list': '......',
  'budget.delete': '......',
  'audit.list': '......',
  'spend.rebuild': '......',
  'spend.correct': '......',
}

const operations = Object.keys(adminOperations) as AdminOperationName[]

test('the columns of this table are all the relations there are', () => {
  assert.deepEqual(columns.toSorted(), relations.toSorted())
})

for (const operation of operations) {
  test(`${operation}: the master may, a holder of a key as the table says`, () => {
    for (const [index, relation] of columns.entries()) {
      const may = expected[operation][index] === 'x'
      assert.equal(mayDo('key', operation, [relation]), may, relation)
      assert.equal(mayDo('master', operation, [relation]), true, relation)
    }
    assert.equal(mayDo('key', operation, []), false)
  })
}

describe('of several relations', () => {
  test('one that allows is enough, whatever the others are', () => {
    const held: Relation[] = ['self', 'team-admin']
    assert.equal(mayDo('key', 'key.update', held), true)
    assert.equal(mayDo('key', 'key.update', held.slice(0, 1)), false)
  })
})

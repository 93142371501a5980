import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wholeList, windowOf } from './whole-list.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

test('a list without a page is whole, or refused when it is too long to be', () => {
  const paging = { page_size: 100 }
  assert.deepEqual(windowOf(paging), { limit: 1_001, offset: 0 })
  assert.equal(wholeList(numbers(1_000), paging).length, 1_000)
  assert.throws(() => wholeList(numbers(1_001), paging), {
    code: 'invalid_request',
    message: /page by page/,
  })
})

test('a page begins where the one before it ended', () => {
  assert.deepEqual(windowOf({ page: 1, page_size: 40 }), { limit: 40, offset: 0 })
  assert.deepEqual(windowOf({ page: 3, page_size: 40 }), { limit: 40, offset: 80 })
})

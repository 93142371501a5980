import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arrayText } from './array-text.ts'

test('texts are quoted, so that none is taken for something else', () => {
  assert.equal(
    arrayText(['a', '', 'NULL', ' b ', '{1,2}', 'a,b']),
    '{"a","","NULL"," b ","{1,2}","a,b"}',
  )
  assert.equal(arrayText(['a"b', 'c\\d', '\\"']), '{"a\\"b","c\\\\d","\\\\\\""}')
})

test('numbers, truth and nothing stand as they are', () => {
  assert.equal(arrayText([1, -2.5, true, false, null]), '{1,-2.5,true,false,NULL}')
  assert.equal(arrayText([]), '{}')
})

test('arrays and objects within it are texts of their own', () => {
  assert.equal(arrayText([['a', 'b"'], []]), '{"{\\"a\\",\\"b\\\\\\"\\"}","{}"}')
  assert.equal(arrayText([{ a: 'x"' }]), '{"{\\"a\\":\\"x\\\\\\"\\"}"}')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csvHead, csvLine } from './csv.ts'

const columns = ['a', 'b', 'c']

test('cells with a comma, a quote or a line end are quoted, others are not', () => {
  assert.equal(csvHead(columns), 'a,b,c\r\n')
  assert.equal(csvLine(columns, { c: 3, a: 'plain text', b: true }), 'plain text,true,3\r\n')
  assert.equal(
    csvLine(columns, { a: 'x,y', b: 'say "so"', c: 'l1\nl2' }),
    '"x,y","say ""so""","l1\nl2"\r\n',
  )
})

test('what is missing or null is empty', () => {
  assert.equal(csvLine(columns, { a: null, c: '' }), ',,\r\n')
})

test('no text is a formula, and no number becomes a text', () => {
  for (const text of ['=1+1', '+1', '@SUM(A1)', '-cmd', '\t=1']) {
    assert.equal(csvLine(['a'], { a: text }), `'${text}\r\n`)
  }
  assert.equal(csvLine(['a'], { a: '=HYPERLINK("x","y")' }), `"'=HYPERLINK(""x"",""y"")"\r\n`)
  assert.equal(csvLine(['a', 'b'], { a: -0.5, b: '-0.000000000001' }), '-0.5,-0.000000000001\r\n')
})

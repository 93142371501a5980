import assert from 'node:assert/strict'
import { test } from 'node:test'
import { costOf, decimalOf, dollarText, priceText, shiftDown } from './money.ts'

test('a price is the decimal that it is written as', () => {
  const written: [number, string][] = [
    [0, '0'],
    [2.5, '2.5'],
    [0.0000025, '0.0000025'],
    [2.5e-7, '0.00000025'],
    [0.1, '0.1'],
    [1e21, '1000000000000000000000'],
    [1e-300, `0.${'0'.repeat(299)}1`],
    [0.18000000000000002, '0.18000000000000002'],
  ]
  for (const [price, text] of written) assert.equal(priceText(decimalOf(price)), text)
})

test('what is no price is refused', () => {
  for (const price of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => decimalOf(price), RangeError)
  }
})

test('one token at two cents per million is exact', () => {
  const perToken = shiftDown(decimalOf(0.02), 6)
  assert.equal(costOf(1, perToken), 20_000n)
  assert.equal(dollarText(20_000n), '0.00000002')
})

test('a product that floats would get wrong is exact', () => {
  assert.equal(costOf(3, decimalOf(0.1)), 300_000_000_000n)
  assert.notEqual(3 * 0.1, 0.3)
})

test('a price finer than the unit is rounded half up once, over all tokens', () => {
  const price = decimalOf(1.5e-13)
  assert.equal(costOf(3, price), 0n)
  assert.equal(costOf(4, price), 1n)
  assert.equal(costOf(10, price), 2n)
  assert.equal(costOf(1_000_000, price), 150_000n)
})

test('large amounts stay exact', () => {
  assert.equal(
    dollarText(costOf(Number.MAX_SAFE_INTEGER, decimalOf(0.000001))),
    '9007199254.740991',
  )
})

test('a correction is written with its sign', () => {
  assert.equal(dollarText(-20_000n), '-0.00000002')
  assert.equal(dollarText(0n), '0')
  assert.equal(dollarText(3_000_000_000_000n), '3')
})

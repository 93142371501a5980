import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConfiguredPrices, UsageEvent } from '../contracts/usage.ts'
import { tokens, usageEventOf } from './fixtures/usage-event.ts'
import { dollarText } from './money.ts'
import { priceUsage } from './price.ts'

function cost(changes: Partial<UsageEvent>) {
  const { amount, source } = priceUsage(usageEventOf(changes))
  return { cost: dollarText(amount), source }
}

/** A model that nobody sells, priced by the config. */
function ownCost(prices: ConfiguredPrices, usage: UsageEvent['usage']) {
  return cost({ priceRef: null, prices, usage })
}

test('cached tokens have their own price', () => {
  // 600 × 2.5 + 400 × 1.25 + 200 × 10, per million
  const priced = priceUsage(
    usageEventOf({ usage: tokens(1_000, 200, { cachedPromptTokens: 400 }) }),
  )
  assert.equal(dollarText(priced.amount), '0.004')
  assert.equal(priced.source, 'price-table')
  assert.deepEqual(priced.unitPrices, {
    input: { quantity: 600, price: '0.0000025' },
    cacheRead: { quantity: 400, price: '0.00000125' },
    output: { quantity: 200, price: '0.00001' },
  })
})

test('tokens written to the cache have their own price', () => {
  const priceRef = { provider: 'anthropic', model: 'claude-3-5-sonnet-20241022' }
  const usage = tokens(1_000, 100, { cachedPromptTokens: 500, cacheWriteTokens: 300 })
  // 200 × 3 + 500 × 0.3 + 300 × 3.75 + 100 × 15, per million
  assert.equal(cost({ priceRef, usage }).cost, '0.003375')
})

test('a long prompt is priced by its tier', () => {
  const priceRef = { provider: 'google', model: 'gemini-2.5-pro' }
  assert.equal(cost({ priceRef, usage: tokens(200_000, 10) }).cost, '0.2501')
  assert.equal(cost({ priceRef, usage: tokens(200_001, 10) }).cost, '0.5001525')
})

test('reasoning is output, at its own price where the list has one', () => {
  const usage = tokens(100, 50, { reasoningTokens: 20 })
  assert.equal(cost({ usage }).cost, '0.00075')
  const priceRef = { provider: 'perplexity', model: 'sonar-deep-research' }
  // 100 × 2 + 30 × 8 + 20 × 3, per million
  assert.equal(cost({ priceRef, usage }).cost, '0.0005')
})

test('audio tokens have their own price', () => {
  const priceRef = { provider: 'openai', model: 'gpt-audio' }
  const usage = tokens(100, 50, { audioPromptTokens: 80, audioCompletionTokens: 40 })
  // 20 × 2.5 + 80 × 32 + 10 × 10 + 40 × 64, per million
  assert.equal(cost({ priceRef, usage }).cost, '0.00527')
})

test('image tokens have their own price', () => {
  const priceRef = { provider: 'google', model: 'gemini-2.5-flash-image' }
  const usage = tokens(100, 1_300, { imagePromptTokens: 90, imageCompletionTokens: 1_290 })
  // 100 × 0.3 (the list has no price of its own for images in a prompt) + 10 × 2.5 + 1,290 × 30
  const priced = priceUsage(usageEventOf({ priceRef, usage }))
  assert.equal(dollarText(priced.amount), '0.038755')
  assert.deepEqual(priced.unitPrices.outputImage, { quantity: 1_290, price: '0.00003' })
})

test('a single embedding token at two cents per million is not lost', () => {
  const priceRef = { provider: 'openai', model: 'text-embedding-3-small' }
  assert.equal(cost({ priceRef, usage: tokens(1, 0) }).cost, '0.00000002')
})

test('a fee per call is due for an answer only', () => {
  const priceRef = { provider: 'perplexity', model: 'sonar' }
  assert.equal(cost({ priceRef, usage: tokens(0, 0) }).cost, '0.012')
  assert.equal(cost({ priceRef, usage: tokens(0, 0), status: 'failure' }).cost, '0')
})

test('an attempt that was cut off costs what its tokens cost', () => {
  assert.equal(cost({ status: 'interrupted', usage: tokens(1_000, 5) }).cost, '0.00255')
})

test('counted tokens are priced like reported ones', () => {
  assert.equal(cost({ usage: tokens(1_000, 200, { estimated: true }) }).cost, '0.0045')
})

test('configured prices win over the list', () => {
  const prices = { inputCostPerToken: 0.000001, outputCostPerToken: 0.000002 }
  assert.deepEqual(cost({ prices }), { cost: '0.0014', source: 'configured' })
})

test('configured prices of zero are free, whatever the list says of cached tokens', () => {
  const prices = { inputCostPerToken: 0, outputCostPerToken: 0 }
  const usage = tokens(1_000, 200, { cachedPromptTokens: 900 })
  assert.deepEqual(cost({ prices, usage }), { cost: '0', source: 'configured' })
})

test('where only one direction is configured, the list prices the other', () => {
  assert.deepEqual(cost({ prices: { outputCostPerToken: 0.00002 } }), {
    cost: '0.0065',
    source: 'configured',
  })
})

test('a configured cache price replaces the one in the list', () => {
  const usage = tokens(1_000, 0, { cachedPromptTokens: 1_000 })
  assert.equal(cost({ usage, prices: { cacheReadInputTokenCost: 1e-7 } }).cost, '0.0001')
})

test('cached tokens without a price of their own cost what input costs', () => {
  const usage = tokens(1_000, 0, { cachedPromptTokens: 600, cacheWriteTokens: 100 })
  assert.deepEqual(ownCost({ inputCostPerToken: 0.000001 }, usage), {
    cost: '0.001',
    source: 'configured',
  })
  const withCache = { inputCostPerToken: 0.000001, cacheReadInputTokenCost: 0.0000001 }
  assert.equal(ownCost(withCache, usage).cost, '0.00046')
})

test('a price per second is charged for the time of the attempt', () => {
  // 1.5 s
  assert.equal(ownCost({ inputCostPerSecond: 0.001 }, tokens(10, 10)).cost, '0.0015')
  assert.equal(ownCost({ outputCostPerSecond: 0.0014 }, tokens(10, 10)).cost, '0.0021')
})

test('a configured price per token wins over one per second', () => {
  const prices = { inputCostPerToken: 0.000001, inputCostPerSecond: 5 }
  assert.equal(ownCost(prices, tokens(10, 0)).cost, '0.00001')
})

test('a clock that ran backwards costs nothing per second', () => {
  const event = usageEventOf({ priceRef: null, prices: { inputCostPerSecond: 1 }, endedAt: 0 })
  assert.equal(priceUsage(event).amount, 0n)
})

test('very small and very fine prices are added up exactly', () => {
  assert.equal(ownCost({ inputCostPerToken: 2.5e-10 }, tokens(3, 0)).cost, '0.00000000075')
  assert.equal(ownCost({ inputCostPerToken: 1.5e-13 }, tokens(1_000_000, 0)).cost, '0.00000015')
})

test('a model that nobody sells, and one that the list does not know, are unpriced', () => {
  const unpriced = { cost: '0', source: 'unpriced' }
  assert.deepEqual(cost({ priceRef: null }), unpriced)
  assert.deepEqual(cost({ priceRef: null, prices: {} }), unpriced)
  assert.deepEqual(cost({ priceRef: { provider: 'openai', model: 'nope' } }), unpriced)
})

test('parts that claim more tokens than there are never make a call dearer than its total', () => {
  const usage = tokens(100, 0, { cachedPromptTokens: 80, cacheWriteTokens: 80 })
  const { unitPrices } = priceUsage(usageEventOf({ usage }))
  const counted = Object.values(unitPrices).reduce((sum, unit) => sum + unit.quantity, 0)
  assert.equal(counted, 100)
})

test('the amount is the sum of what the unit prices say', () => {
  const usage = tokens(1_000, 200, { cachedPromptTokens: 123, reasoningTokens: 45 })
  const { amount, unitPrices } = priceUsage(usageEventOf({ usage }))
  const picoPerDollar = 1e12
  const sum = Object.values(unitPrices).reduce(
    (total, { quantity, price }) =>
      total + BigInt(Math.round(Number(price) * picoPerDollar)) * BigInt(quantity),
    0n,
  )
  assert.equal(amount, sum)
})

const heard = { ...tokens(0, 0), audioMs: 90_000 }
const whisper = { provider: 'openai', model: 'whisper-1' }

test('audio is priced by its own length, in the list and in the config', () => {
  assert.deepEqual(cost({ priceRef: whisper, usage: heard }), {
    cost: '0.009',
    source: 'price-table',
  })
  assert.equal(ownCost({ inputCostPerSecond: 0.001 }, heard).cost, '0.09')
  assert.equal(
    ownCost({ inputCostPerSecond: 0.001, outputCostPerSecond: 0.001 }, heard).cost,
    '0.09',
  )
})

test('a price per hour of audio that does not come out even is fine to the pico-dollar', () => {
  const priceRef = { provider: 'groq', model: 'whisper-large-v3' }
  const hour = { ...tokens(0, 0), audioMs: 3_600_000 }
  assert.equal(cost({ priceRef, usage: hour }).cost, '0.111')
})

test('a price per hour is none for audio of an unknown length', () => {
  assert.equal(cost({ priceRef: whisper, usage: tokens(10, 10) }).source, 'unpriced')
})

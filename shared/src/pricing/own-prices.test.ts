// What is billed at another price than the normal one: cache writes for an hour, service tiers, batches.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BilledRate, ConfiguredPrices, TokenUsage } from '../contracts/usage.ts'
import { tokens, usageEventOf } from './fixtures/usage-event.ts'
import { dollarText } from './money.ts'
import { priceUsage } from './price.ts'

interface Call {
  usage: TokenUsage
  prices?: ConfiguredPrices
  priceRef?: { provider: string; model: string } | null
}

function priced({ usage, prices, priceRef = null }: Call) {
  const { amount, unitPrices, source } = priceUsage(
    usageEventOf({ usage, prices: prices ?? null, priceRef }),
  )
  const units = Object.entries(unitPrices).map(
    ([part, { quantity, price }]) => `${part} ${quantity} × ${price}`,
  )
  return { cost: dollarText(amount), units, source }
}

const written = (forAnHour: number) =>
  tokens(1_000, 0, { cacheWriteTokens: 800, cacheWrite1hTokens: forAnHour })
const sonnet = { provider: 'anthropic', model: 'claude-sonnet-4-5' }

test('a cache write for an hour has its own price in the list', () => {
  assert.deepEqual(priced({ usage: written(300), priceRef: sonnet }), {
    // 200 × 3 + 500 × 3.75 + 300 × 6, per million
    cost: '0.004275',
    units: ['input 200 × 0.000003', 'cacheWrite 500 × 0.00000375', 'cacheWrite1h 300 × 0.000006'],
    source: 'price-table',
  })
})

test('a list that knows five minutes alone: an hour costs twice what input costs', () => {
  const priceRef = { provider: 'aws', model: 'anthropic.claude-sonnet-4-5-20250929-v1:0' }
  assert.deepEqual(priced({ usage: written(800), priceRef }).units, [
    'input 200 × 0.0000033',
    'cacheWrite1h 800 × 0.0000066',
  ])
})

test('an hour has the price that is configured for it', () => {
  const prices = {
    inputCostPerToken: 1e-6,
    cacheCreationInputTokenCost: 2e-6,
    cacheCreationInputTokenCostAbove1hr: 5e-6,
  }
  const costOf = (changes: ConfiguredPrices) =>
    priced({ usage: written(800), prices: { ...prices, ...changes } }).cost
  assert.equal(costOf({}), '0.0042')
  // Twice the configured input.
  const { cacheCreationInputTokenCostAbove1hr: _, ...without } = prices
  assert.equal(priced({ usage: written(800), prices: without }).cost, '0.0018')
  // No write has a price of its own: all of the prompt costs the same.
  assert.equal(priced({ usage: written(800), prices: { inputCostPerToken: 1e-6 } }).cost, '0.001')
  assert.equal(priced({ usage: written(800), prices: { inputCostPerToken: 0 } }).cost, '0')
  const overList = { cacheCreationInputTokenCostAbove1hr: 5e-6 }
  assert.equal(priced({ usage: written(800), prices: overList, priceRef: sonnet }).cost, '0.0046')
})

test('no more is written for an hour than is written', () => {
  const usage = tokens(1_000, 0, { cacheWriteTokens: 100, cacheWrite1hTokens: 900 })
  assert.deepEqual(priced({ usage, priceRef: sonnet }).units, [
    'input 900 × 0.000003',
    'cacheWrite1h 100 × 0.000006',
  ])
})

const normal = {
  inputCostPerToken: 2e-6,
  outputCostPerToken: 8e-6,
  cacheReadInputTokenCost: 5e-7,
} as const
const tiers = {
  inputCostPerTokenPriority: 4e-6,
  outputCostPerTokenPriority: 1.6e-5,
  cacheReadInputTokenCostPriority: 1e-6,
  inputCostPerTokenFlex: 1e-6,
  outputCostPerTokenFlex: 4e-6,
  cacheReadInputTokenCostFlex: 2.5e-7,
} as const
const usageAt = (rate?: BilledRate) => ({
  ...tokens(1_000, 100, { cachedPromptTokens: 400 }),
  ...(rate === undefined ? {} : { rate }),
})

test('a service tier has its own prices', () => {
  const prices = { ...normal, ...tiers }
  const at = (rate?: BilledRate) => priced({ usage: usageAt(rate), prices })
  assert.deepEqual([at().cost, at().source], ['0.0022', 'configured'])
  assert.deepEqual(at('priority'), {
    cost: '0.0044',
    units: ['input 600 × 0.000004', 'cacheRead 400 × 0.000001', 'output 100 × 0.000016'],
    source: 'configured',
  })
  assert.deepEqual([at('flex').cost, at('flex').source], ['0.0011', 'configured'])
})

test('they stand beside the list, too', () => {
  const priceRef = { provider: 'openai', model: 'gpt-4o' }
  const at = (rate?: BilledRate) => priced({ usage: usageAt(rate), prices: tiers, priceRef })
  // 600 × 2.5 + 400 × 1.25 + 100 × 10, per million
  assert.deepEqual([at().cost, at().source], ['0.003', 'price-table'])
  assert.deepEqual([at('priority').cost, at('priority').source], ['0.0044', 'configured'])
})

test('what a tier has no price for costs what it costs normally, and that is said', () => {
  const at = (prices: ConfiguredPrices, rate: BilledRate) => {
    const { cost, source } = priced({ usage: usageAt(rate), prices })
    return [cost, source]
  }
  assert.deepEqual(at(normal, 'priority'), ['0.0022', 'normal-tier'])
  assert.deepEqual(at({ ...normal, ...tiers }, 'scale'), ['0.0022', 'normal-tier'])
  const { cacheReadInputTokenCostPriority: _, ...partly } = tiers
  // 600 × 4 + 400 × 0.5 + 100 × 16, per million
  assert.deepEqual(at({ ...normal, ...partly }, 'priority'), ['0.0042', 'normal-tier'])
  // Where cached tokens have no price of their own at all, they cost what the tier's input costs.
  const { cacheReadInputTokenCost: __, ...plain } = normal
  assert.deepEqual(at({ ...plain, ...partly }, 'priority'), ['0.0056', 'configured'])
})

test('a tier’s price alone is none', () => {
  assert.equal(priced({ usage: usageAt('priority'), prices: tiers }).source, 'unpriced')
})

test('a tier’s price per token stands before a price per second', () => {
  const prices = { inputCostPerSecond: 5, ...tiers }
  assert.equal(priced({ usage: usageAt('priority'), prices }).cost, '0.0044')
})

test('batch lines have the prices for batches where there are any', () => {
  const batches = { inputCostPerTokenBatches: 1e-6, outputCostPerTokenBatches: 4e-6 }
  const usage = usageAt('batch')
  assert.deepEqual(priced({ usage, prices: { ...normal, ...batches } }), {
    cost: '0.0012',
    units: ['input 600 × 0.000001', 'cacheRead 400 × 0.0000005', 'output 100 × 0.000004'],
    source: 'configured',
  })
  assert.equal(priced({ usage: usageAt(), prices: { ...normal, ...batches } }).cost, '0.0022')
  const without = priced({ usage, prices: normal })
  assert.deepEqual([without.cost, without.source], ['0.0022', 'configured'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { priceText } from './money.ts'
import { lookUpPrices, type PriceQuestion } from './price-table.ts'

const noon = Date.UTC(2026, 4, 20, 12)

function pricesOf(question: Partial<PriceQuestion> & { provider: string; model: string }) {
  const found = lookUpPrices({ at: noon, promptTokens: 100, ...question })
  if (found === null) return null
  return Object.fromEntries(Object.entries(found).map(([name, d]) => [name, priceText(d)]))
}

test('prices are per token, exact', () => {
  assert.deepEqual(pricesOf({ provider: 'openai', model: 'gpt-4o' }), {
    input: '0.0000025',
    cacheRead: '0.00000125',
    output: '0.00001',
  })
})

test('a dated model name finds its model', () => {
  const found = pricesOf({ provider: 'anthropic', model: 'claude-3-5-sonnet-20241022' })
  assert.equal(found?.cacheWrite, '0.00000375')
})

test('a prompt longer than the start of a tier makes all tokens dearer', () => {
  const gemini = { provider: 'google', model: 'gemini-2.5-pro' }
  assert.equal(pricesOf({ ...gemini, promptTokens: 200_000 })?.output, '0.00001')
  assert.equal(pricesOf({ ...gemini, promptTokens: 200_001 })?.output, '0.000015')
})

test('the time of the call decides where prices differ by the time of day', () => {
  const deepseek = { provider: 'deepseek', model: 'deepseek-chat' }
  const day = pricesOf({ ...deepseek, at: Date.UTC(2026, 4, 20, 12) })
  const night = pricesOf({ ...deepseek, at: Date.UTC(2026, 4, 20, 20) })
  assert.equal(day?.input, '0.00000027')
  assert.notEqual(night?.input, day?.input)
})

test('a fee per call is per call', () => {
  assert.equal(pricesOf({ provider: 'perplexity', model: 'sonar' })?.request, '0.012')
})

test('an unknown model, an unknown provider and a model sold by the character have no price', () => {
  assert.equal(pricesOf({ provider: 'openai', model: 'no-such-model' }), null)
  assert.equal(pricesOf({ provider: 'no-such-provider', model: 'gpt-4o' }), null)
  assert.equal(pricesOf({ provider: 'openai', model: 'tts-1' }), null)
})

test('a price per hour of audio is per millisecond', () => {
  assert.deepEqual(pricesOf({ provider: 'openai', model: 'whisper-1' }), { audio: '0.0000001' })
})

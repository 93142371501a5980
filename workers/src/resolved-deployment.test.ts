import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConfiguredPrices } from '@penstock/shared/contracts/usage'
import { testCall } from './providers/provider-test-kit.ts'
import { resolveDeployment, withDefaultPrices } from './resolved-deployment.ts'

test('credentials in an api_base are used, but not announced', () => {
  const apiBase = 'http://user:hunter2@gpu-box:11434'
  const resolved = resolveDeployment(testCall({}, { deployment: { apiBase } }).deployment, {})
  assert.equal(resolved.deployment.apiBase, apiBase)
  assert.equal(resolved.info.apiBase, 'http://gpu-box:11434/')
})

test('slots are those of the config, else those of the provider', () => {
  const slotsOf = (maxParallelRequests: number | null) =>
    resolveDeployment(testCall({}, { deployment: { maxParallelRequests } }).deployment, {}).info
      .slots
  assert.deepEqual([slotsOf(7), slotsOf(null)], [7, 1])
})

test('a base_model is looked up in the price list without its prefix, another model as it is', () => {
  const priceRefOf = (model: string, baseModel: string | null = null) => {
    const apiBase = 'https://h.example'
    const { deployment } = testCall({}, { deployment: { model, baseModel, apiBase } })
    return resolveDeployment(deployment, {}).info.priceRef
  }
  const gpt4o = { provider: 'azure', model: 'gpt-4o' }
  assert.deepEqual(priceRefOf('azure/our-deployment', 'azure/gpt-4o'), gpt4o)
  assert.deepEqual(priceRefOf('azure/our-deployment', 'gpt-4o'), gpt4o)
  const qwen = { provider: 'groq', model: 'qwen/qwen3-32b' }
  assert.deepEqual(priceRefOf('groq/qwen/qwen3-32b'), qwen)
})

test('an answer is bounded by what the config says of the model, or sends with each request', () => {
  const limitOf = (maxOutputTokens: number | null, defaults: object = {}) => {
    const { deployment } = testCall({}, { deployment: { maxOutputTokens } })
    return resolveDeployment({ ...deployment, defaults: { ...defaults } }, {}).info.maxOutputTokens
  }
  assert.deepEqual([limitOf(null), limitOf(null, { max_tokens: 'many' })], [null, null])
  assert.deepEqual([limitOf(null, { max_tokens: 7 }), limitOf(9, { max_tokens: 7 })], [7, 9])
})

test('default prices stand in where nothing else names one, if they are wanted', () => {
  const defaultPrices = { outputCostPerToken: 1e-6 }
  const own = { outputCostPerToken: 2e-6 }
  const settings = { timezone: 'UTC', defaultMaxTokens: 1, defaultPrices }
  const pricesOf = (
    model: string,
    prices: ConfiguredPrices | null,
    unknownPrice: 'default' | 'zero',
  ) => {
    const { deployment } = testCall({}, { deployment: { model, prices } })
    const target = resolveDeployment(deployment, {})
    return withDefaultPrices(target, { ...settings, unknownPrice }).info.prices
  }
  assert.deepEqual(pricesOf('ollama_chat/llama3', null, 'default'), defaultPrices)
  assert.deepEqual(pricesOf('ollama_chat/llama3', own, 'default'), own)
  const tier = { outputCostPerTokenFlex: 1e-7 }
  const both = { ...tier, ...defaultPrices }
  assert.deepEqual(pricesOf('ollama_chat/llama3', tier, 'default'), both)
  assert.equal(pricesOf('ollama_chat/llama3', null, 'zero'), null)
  assert.equal(pricesOf('openai/gpt-4o-mini', null, 'default'), null)
  assert.deepEqual(pricesOf('openai/nobody-knows-it', null, 'default'), defaultPrices)
})

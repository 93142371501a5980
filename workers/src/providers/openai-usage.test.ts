// Usage as different servers report it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noUsage } from '@penstock/shared/contracts/usage'
import { usageOf } from './openai-usage.ts'

test('every part of OpenAI’s usage is read', () => {
  const usage = {
    prompt_tokens: 100,
    completion_tokens: 50,
    total_tokens: 150,
    prompt_tokens_details: { cached_tokens: 60, audio_tokens: 5, cache_write_tokens: 7 },
    completion_tokens_details: { reasoning_tokens: 30, audio_tokens: 2 },
  }
  assert.deepEqual(usageOf({ usage }), {
    promptTokens: 100,
    completionTokens: 50,
    cachedPromptTokens: 60,
    cacheWriteTokens: 7,
    audioPromptTokens: 5,
    reasoningTokens: 30,
    audioCompletionTokens: 2,
    estimated: false,
  })
})

test('DeepSeek’s cache hits count as cached tokens', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 1, prompt_cache_hit_tokens: 8 }
  assert.equal(usageOf({ usage })?.cachedPromptTokens, 8)
})

test('Mistral’s other name for cached tokens is known', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 1, num_cached_tokens: 4 }
  assert.equal(usageOf({ usage })?.cachedPromptTokens, 4)
})

// A recorded reply of grok-3-mini (vercel/ai, packages/xai/src/__fixtures__/xai-text.chunks.txt).
test('reasoning that is counted beside the completion is part of it', () => {
  const details = { completion_tokens_details: { reasoning_tokens: 290 } }
  const beside = { prompt_tokens: 12, completion_tokens: 1, total_tokens: 303, ...details }
  const usage = usageOf({ usage: beside })
  assert.deepEqual([usage?.completionTokens, usage?.reasoningTokens], [291, 290])
  const within = { prompt_tokens: 12, completion_tokens: 291, total_tokens: 303, ...details }
  assert.equal(usageOf({ usage: within })?.completionTokens, 291)
})

test('missing, null and absurd fields count nothing', () => {
  const usage = {
    prompt_tokens: 3,
    completion_tokens: 4.6,
    total_tokens: null,
    prompt_tokens_details: null,
    completion_tokens_details: 'none',
    prompt_cache_hit_tokens: 99,
  }
  assert.deepEqual(usageOf({ usage }), {
    ...noUsage,
    promptTokens: 3,
    completionTokens: 5,
    cachedPromptTokens: 3,
  })
  assert.equal(usageOf({ usage: { prompt_tokens: 2, total_tokens: 9 } })?.completionTokens, 7)
})

test('a count that no integer holds is not reported', () => {
  const details = { cached_tokens: 1e300, audio_tokens: 2 ** 53 }
  const usage = { prompt_tokens: 1e300, completion_tokens: 5, prompt_tokens_details: details }
  assert.deepEqual(usageOf({ usage }), { ...noUsage, completionTokens: 5 })
  assert.equal(usageOf({ usage: { total_tokens: 1e300 } }), null)
})

test('no usage is null, so that somebody counts', () => {
  const none = [{}, { usage: null }, { usage: {} }, { usage: { prompt_tokens: -1 } }, null, 'x']
  for (const reply of none) assert.equal(usageOf(reply), null)
})

// OpenAI's API reference, the chat completion object: "the processing mode actually used to serve the
// request", which "may be different from the value set in the parameter".
test('the tier that served is the one that is billed, if it has prices of its own', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 1 }
  for (const tier of ['priority', 'flex', 'scale'] as const) {
    assert.equal(usageOf({ usage, service_tier: tier })?.rate, tier)
  }
  for (const service_tier of ['default', 'auto', 'on_demand', null, undefined, 3]) {
    const found = usageOf({ usage, service_tier })
    assert.equal(found?.promptTokens, 10)
    assert.ok(!('rate' in (found ?? {})))
  }
})

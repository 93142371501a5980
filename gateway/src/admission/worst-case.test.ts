import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BudgetSettings } from '@penstock/shared/config/config'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import { billedRate, noUsage } from '@penstock/shared/contracts/usage'
import { priceUsage } from '@penstock/shared/pricing/price'
import type { KnownFields } from '../schemas.ts'
import { answerBound, audioBound, promptBound } from './token-bounds.ts'
import { type CostQuestion, createWorstCases } from './worst-case.ts'

const now = Date.parse('2026-11-20T12:00:00Z')
const settings: BudgetSettings = {
  unknownPrice: 'reject',
  defaultPrices: null,
  timezone: 'UTC',
  defaultMaxTokens: 1_000,
}
const local: DeploymentInfo = {
  id: 'd',
  group: 'g',
  provider: 'hosted_vllm',
  model: 'm',
  slots: 1,
  weight: null,
  order: null,
  rpm: null,
  tpm: null,
  tags: [],
  locality: 'local',
  maxInputTokens: null,
  maxOutputTokens: null,
  inputCostPerToken: null,
  outputCostPerToken: null,
  cooldownMs: null,
  apiBase: null,
  priceRef: null,
  prices: null,
}
const messages = [{ content: 'hello' }]

function worstCaseOf(
  infos: Partial<DeploymentInfo>[],
  question: Partial<CostQuestion> = {},
  changes: Partial<BudgetSettings> = {},
) {
  const fleet = { inGroup: () => infos.map((one) => ({ ...local, ...one })) }
  const cases = createWorstCases(
    fleet,
    () => ({ ...settings, ...changes }),
    () => now,
  )
  const request: KnownFields = { model: 'g', messages, max_tokens: 10 }
  return cases.inGroup('g', {
    operation: 'chat',
    request,
    bodyBytes: 72,
    model: 'g',
    deadline: now + 60_000,
    ...question,
  })
}

describe('the tokens of a prompt', () => {
  const bound = (request: object, bytes: number) =>
    promptBound({ model: 'm', ...request } as KnownFields, 'chat', bytes)

  test('are at most the bytes of the body, and what templates add', () => {
    assert.equal(bound({ messages }, 1_000), 1_128)
    assert.equal(bound({ messages, tools: [] }, 1_000), 2_152)
  })

  test('of images, audio and files do not depend on their bytes', () => {
    const withPart = (part: object, bytes: number) =>
      bound({ messages: [{ content: [{ type: 'text', text: 'x' }, part] }] }, bytes) - 128
    const url = `data:image/png;base64,${'A'.repeat(1_000_000)}`
    const image = { type: 'image_url', image_url: { url } }
    assert.equal(withPart(image, 100 + url.length), 50_100)
    const low = { type: 'image_url', image_url: { url, detail: 'low' } }
    assert.equal(withPart(low, 100 + url.length), 3_100)
    const link = { type: 'image_url', image_url: 'https://example.org/x.png' }
    assert.equal(withPart(link, 100), 50_100)
    const audio = { type: 'input_audio', input_audio: { data: 'A'.repeat(16_000) } }
    assert.equal(withPart(audio, 16_100), 1_100)
    assert.equal(withPart({ type: 'file', file: { file_id: 'f' } }, 100), 128_100)
  })
})

describe('the tokens of an answer', () => {
  const bound = (request: object, operation: 'chat' | 'completion' | 'embedding' = 'chat') =>
    answerBound({ model: 'm', ...request }, operation, 1_000)

  test('are those asked for, of each choice and each prompt', () => {
    assert.equal(bound({}), 1_000)
    assert.equal(bound({ max_tokens: 7, n: 3 }), 21)
    assert.equal(bound({ max_tokens: 7, max_completion_tokens: 9 }), 9)
    assert.equal(bound({ max_tokens: 7, prompt: ['a', 'b'], best_of: 2 }, 'completion'), 28)
    assert.equal(bound({ max_tokens: 7, prompt: [1, 2, 3] }, 'completion'), 7)
    assert.equal(bound({ input: 'x' }, 'embedding'), 0)
  })
})

describe('the worst case', () => {
  test('is that of the dearest deployment, and of what it can answer with', () => {
    const cheap = { prices: { inputCostPerToken: 1e-6, outputCostPerToken: 1e-6 } }
    const dear = { prices: { inputCostPerToken: 0, outputCostPerToken: 5e-5 } }
    assert.deepEqual(worstCaseOf([cheap, dear]), {
      amount: 500_000_000n,
      tokens: 210,
      unpriced: null,
    })
    const unlimited = { request: { model: 'g', messages } }
    assert.equal(worstCaseOf([dear], unlimited)?.amount, 50_000_000_000n)
    const small = { ...dear, maxOutputTokens: 100, maxInputTokens: 50 }
    assert.deepEqual(worstCaseOf([small], unlimited), {
      amount: 5_000_000_000n,
      tokens: 150,
      unpriced: null,
    })
  })

  test('is that of the dearest tier, whatever the request asks for: its project may name another', () => {
    const prices = {
      inputCostPerToken: 0,
      outputCostPerToken: 1e-6,
      outputCostPerTokenPriority: 2e-6,
      outputCostPerTokenFlex: 5e-7,
    }
    for (const service_tier of [undefined, 'auto', 'priority', 'default', 'flex']) {
      const request = { model: 'g', messages, max_tokens: 10, service_tier }
      assert.equal(worstCaseOf([{ prices }], { request })?.amount, 20_000_000n)
    }
  })

  test('counts on the whole prompt being written to the cache for an hour', () => {
    const priceRef = { provider: 'anthropic', model: 'claude-sonnet-4-5' }
    // 200 tokens at $6, 10 at $15 per million (platform.claude.com/docs, "Pricing").
    assert.equal(worstCaseOf([{ priceRef }])?.amount, 200n * 6_000_000n + 10n * 15_000_000n)
  })

  test('of a tier alone is none', () => {
    assert.equal(worstCaseOf([{ prices: { outputCostPerTokenPriority: 1e-6 } }])?.unpriced, 'm')
  })

  test('of prices by the second lasts until the deadline', () => {
    const prices = { outputCostPerSecond: 0.001 }
    assert.equal(worstCaseOf([{ prices }])?.amount, 60_000_000_000n)
  })

  test('without any price is told, unless the settings name one', () => {
    assert.equal(worstCaseOf([{}])?.unpriced, 'm')
    const defaults = {
      unknownPrice: 'default' as const,
      defaultPrices: { outputCostPerToken: 1e-6 },
    }
    assert.deepEqual(worstCaseOf([{}], {}, defaults), {
      amount: 10_000_000n,
      tokens: 210,
      unpriced: null,
    })
  })

  test('of a wildcard group is that of the model asked for', () => {
    const wildcard = { ...local, model: '*', priceRef: { provider: 'openai', model: '*' } }
    const cases = createWorstCases(
      { inGroup: () => [wildcard] },
      () => settings,
      () => now,
    )
    const request = { model: 'openai/gpt-4o-mini', messages, max_tokens: 10 }
    const question = { operation: 'chat' as const, request, bodyBytes: 72, deadline: now }
    const ask = (model: string) => cases.inGroup('openai/*', { ...question, model })
    // $0.15 and $0.60 per million tokens (openai.com/api/pricing).
    assert.equal(ask('openai/gpt-4o-mini')?.amount, 200n * 150_000n + 10n * 600_000n)
    assert.equal(ask('openai/nobody-knows-it')?.unpriced, 'nobody-knows-it')
  })

  test('is never below what the ledger will say', () => {
    const request = { model: 'g', messages, max_tokens: 300 }
    const refs = [
      { provider: 'openai', model: 'gpt-4o-mini' },
      { provider: 'anthropic', model: 'claude-sonnet-4-5' },
      { provider: 'google', model: 'gemini-2.5-pro' },
      { provider: 'deepseek', model: 'deepseek-chat' },
      null,
    ]
    const configured = [
      null,
      { inputCostPerToken: 2e-6, cacheCreationInputTokenCost: 3e-6 },
      { inputCostPerSecond: 0.01, outputCostPerToken: 1e-6 },
      { outputCostPerSecond: 0.0123 },
      { inputCostPerToken: 1e-6, cacheCreationInputTokenCostAbove1hr: 4e-6 },
      { inputCostPerTokenPriority: 9e-5, outputCostPerTokenPriority: 8e-5 },
      { inputCostPerSecond: 1e-9, inputCostPerTokenPriority: 9e-5 },
      { inputCostPerToken: 1e-6, cacheReadInputTokenCostFlex: 2e-5, outputCostPerTokenFlex: 1e-4 },
      { outputCostPerToken: 1e-6, inputCostPerTokenBatches: 7e-5, outputCostPerTokenBatches: 7e-5 },
    ]
    const rates = [undefined, ...billedRate.options]
    const partsAndRates = [0, 1, 2, 3, 4, 5].flatMap((part) =>
      rates.map((rate) => [part, rate] as const),
    )
    for (const priceRef of refs) {
      for (const prices of configured) {
        for (const bodyBytes of [60, 250_000]) {
          const bound = worstCaseOf([{ priceRef, prices }], { request, bodyBytes })?.amount ?? -1n
          for (const [part, rate] of partsAndRates) {
            const promptTokens = bodyBytes + 128
            const usage = {
              ...noUsage,
              promptTokens,
              completionTokens: 300,
              cachedPromptTokens: part === 1 ? promptTokens : 0,
              cacheWriteTokens: part === 2 || part === 5 ? promptTokens : 0,
              cacheWrite1hTokens: part === 5 ? promptTokens : 0,
              audioPromptTokens: part === 3 ? promptTokens : 0,
              reasoningTokens: part === 4 ? 300 : 0,
              rate,
            }
            const times = { startedAt: now, endedAt: now + 60_000 }
            const { amount } = priceUsage({ prices, priceRef, usage, status: 'success', ...times })
            assert.ok(amount <= bound, `${JSON.stringify([priceRef, prices])}: ${amount} ${bound}`)
          }
        }
      }
    }
  })
})

test('a group whose last worker was lost is priced as it last was', () => {
  let infos: DeploymentInfo[] = []
  const cases = createWorstCases(
    { inGroup: () => infos },
    () => settings,
    () => now,
  )
  const request = { model: 'g', messages, max_tokens: 10 }
  const deadline = now + 1_000
  const ask = () =>
    cases.inGroup('g', { operation: 'chat', request, bodyBytes: 9, model: 'g', deadline })
  assert.equal(ask(), null)
  infos = [{ ...local, prices: { outputCostPerToken: 1e-6 } }]
  assert.equal(ask()?.amount, 10_000_000n)
  infos = []
  assert.equal(ask()?.amount, 10_000_000n)
})

describe('audio', () => {
  const priceRef = { provider: 'openai', model: 'whisper-1' }
  const bytes = 750_000

  test('is as long as its bytes can be, and priced by that', () => {
    assert.equal(audioBound('transcription', bytes), 1_000_000)
    assert.equal(audioBound('chat', bytes), 0)
    const question = {
      operation: 'transcription',
      request: { model: 'g' },
      bodyBytes: bytes,
    } as const
    assert.equal(worstCaseOf([{ priceRef }], question)?.amount, 100_000_000_000n)
    const bySecond = { prices: { inputCostPerSecond: 0.001 } }
    assert.equal(worstCaseOf([bySecond], question)?.amount, 1_000_000_000_000n)
  })

  test('has fewer tokens than bytes; speech has them by its characters', () => {
    const request: KnownFields = { model: 'm', prompt: 'names' }
    assert.equal(promptBound(request, 'translation', bytes), 62_500 + 5 + 128)
    assert.equal(answerBound({ model: 'm', input: 'hello' }, 'speech', 1_000), 10)
  })
})

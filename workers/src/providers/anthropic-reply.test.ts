// Anthropic's documented replies as OpenAI's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noUsage } from '@penstock/shared/contracts/usage'
import { completionOf, usageCounts, usageOf } from './anthropic-reply.ts'
import { failsWith, jsonFixture } from './provider-test-kit.ts'

const model = 'claude-sonnet-4-5'
const json = (name: string) => jsonFixture(`../anthropic/${name}`)

test('a whole reply becomes a chat.completion with all of its usage', () => {
  const { body, usage } = completionOf(json('reply.json'), model)
  const { created, ...rest } = body
  assert.ok(Number(created) > 1_700_000_000)
  assert.deepEqual(rest, {
    id: 'msg_013Zva2CMHLNnXjNJJKqJ2EF',
    object: 'chat.completion',
    model,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hi! My name is Claude.' },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {
      prompt_tokens: 6197,
      completion_tokens: 503,
      total_tokens: 6700,
      prompt_tokens_details: { cached_tokens: 2051, cache_write_tokens: 2051 },
      completion_tokens_details: { reasoning_tokens: 0 },
    },
  })
  assert.deepEqual(usage, {
    ...noUsage,
    promptTokens: 6197,
    completionTokens: 503,
    cachedPromptTokens: 2051,
    cacheWriteTokens: 2051,
  })
})

test('a whole reply with a tool call has its arguments as text, and no usage where none came', () => {
  const { body, usage } = completionOf(json('reply-tools.json'), model)
  assert.equal(usage, null)
  assert.deepEqual((body.choices as unknown[])[0], {
    index: 0,
    message: {
      role: 'assistant',
      content: "I'll check the current weather in San Francisco for you.",
      tool_calls: [
        {
          id: 'toolu_01A09q90qw90lq917835lq9',
          type: 'function',
          function: {
            name: 'get_weather',
            arguments: '{"location":"San Francisco, CA","unit":"celsius"}',
          },
        },
      ],
    },
    logprobs: null,
    finish_reason: 'tool_calls',
  })
})

test('thinking keeps its signature, server tools say nothing, a JSON tool is the answer', () => {
  const thinking = { type: 'thinking', thinking: 'Hm.', signature: 's' }
  const redacted = { type: 'redacted_thinking', data: 'd' }
  const used = { type: 'server_tool_use', id: 'x', name: 'web_search', input: {} }
  const tool = { type: 'tool_use', id: 't', name: 'json_tool_call', input: { depth: 12 } }
  const content = [thinking, redacted, used, tool]
  const usage = { input_tokens: 1, output_tokens: 9, output_tokens_details: { thinking_tokens: 4 } }
  const reply = completionOf({ content, stop_reason: 'tool_use', usage }, model)
  const [choice] = reply.body.choices as { message: unknown; finish_reason: string }[]
  assert.deepEqual(choice?.message, {
    role: 'assistant',
    content: '{"depth":12}',
    reasoning_content: 'Hm.',
    thinking_blocks: [thinking, redacted],
  })
  assert.equal(choice?.finish_reason, 'stop')
  assert.equal(reply.usage?.reasoningTokens, 4)
})

test('what was written for an hour is a part of what was written; a tier of its own is told', () => {
  const usage = {
    input_tokens: 5,
    output_tokens: 1,
    cache_creation_input_tokens: 30,
    cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
  }
  const counted = (service_tier?: unknown) => usageOf(usageCounts({ ...usage, service_tier }))
  assert.partialDeepStrictEqual(counted(), {
    promptTokens: 35,
    cacheWriteTokens: 30,
    cacheWrite1hTokens: 20,
  })
  assert.equal(counted('priority')?.rate, 'priority')
  for (const tier of ['standard', null, 'x']) assert.ok(!('rate' in (counted(tier) ?? {})))
})

test('every stop reason has its finish reason', () => {
  const reasons = {
    end_turn: 'stop',
    stop_sequence: 'stop',
    pause_turn: 'stop',
    something_new: 'stop',
    max_tokens: 'length',
    model_context_window_exceeded: 'length',
    tool_use: 'tool_calls',
    refusal: 'content_filter',
  }
  for (const [stopReason, finish] of Object.entries(reasons)) {
    const { body } = completionOf({ content: [], stop_reason: stopReason }, model)
    const [choice] = body.choices as { message: object; finish_reason: string }[]
    assert.deepEqual(
      [choice?.finish_reason, choice?.message],
      [finish, { role: 'assistant', content: '' }],
    )
  }
})

test('a reply that is not of its form is an invalid response', () => {
  for (const wrong of [null, [], {}, { content: 'x' }, { content: [{ type: 'text' }] }]) {
    assert.throws(() => completionOf(wrong, model), failsWith('upstream_invalid_response'))
  }
})

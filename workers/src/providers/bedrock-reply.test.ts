// Converse's documented answers as OpenAI's, and AWS's exceptions as Penstock's errors.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConverseCommandOutput, ConverseStreamOutput } from '@aws-sdk/client-bedrock-runtime'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import { bedrockError } from './bedrock-errors.ts'
import { completionOf, translateConverse } from './bedrock-reply.ts'
import { failsWith, jsonFixture, parseEvents, testCall } from './provider-test-kit.ts'

const model = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const output = (name: string) => jsonFixture(`../bedrock/${name}`) as ConverseCommandOutput

interface Choice {
  message: Record<string, unknown>
  delta: Record<string, unknown>
  finish_reason: string | null
}

async function translated(events: unknown[]) {
  let text = ''
  const emit = (bytes: Uint8Array) => {
    text += Buffer.from(bytes).toString()
  }
  const call = testCall({}, { model, stream: true, includeUsage: true, emit })
  async function* stream() {
    yield* events as ConverseStreamOutput[]
  }
  const usage = await translateConverse(call, stream())
  const parsed = parseEvents(Buffer.from(text)) as unknown as { choices: Choice[] }[]
  return { usage, choices: parsed.flatMap(({ choices }) => choices), last: parsed.at(-1) }
}

test('a whole reply becomes a chat.completion', () => {
  const { body, usage } = completionOf(output('converse.json'), model)
  const [choice] = body.choices as Choice[]
  assert.match(String(choice?.message.content), /^Here is a list of 3 pop songs/)
  assert.equal(choice?.finish_reason, 'stop')
  assert.deepEqual(usage, { ...noUsage, promptTokens: 125, completionTokens: 60 })
})

test('a tool request becomes a tool call', () => {
  const { body, usage } = completionOf(output('converse-tools.json'), model)
  const [choice] = body.choices as Choice[]
  assert.deepEqual(choice?.message, {
    role: 'assistant',
    content: null,
    tool_calls: [
      {
        id: 'tooluse_hbTgdi0CSLq_hM4P8csZJA',
        type: 'function',
        function: { name: 'top_song', arguments: '{"sign":"WZPZ"}' },
      },
    ],
  })
  assert.deepEqual([choice?.finish_reason, usage], ['tool_calls', null])
})

test('reasoning, citations and cached tokens', () => {
  const content = [
    { reasoningContent: { reasoningText: { text: 'Hm.', signature: 's' } } },
    { reasoningContent: { redactedContent: Buffer.from('abc') } },
    { citationsContent: { content: [{ text: 'High ' }, { text: 'tide.' }], citations: [] } },
  ]
  const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 25, cacheReadInputTokens: 7 }
  const reply = completionOf(
    {
      $metadata: {},
      metrics: { latencyMs: 1 },
      output: { message: { role: 'assistant', content } },
      stopReason: 'guardrail_intervened',
      usage: { ...usage, cacheWriteInputTokens: 3 },
    },
    model,
  )
  const [choice] = reply.body.choices as Choice[]
  assert.deepEqual(choice?.message, {
    role: 'assistant',
    content: 'High tide.',
    reasoning_content: 'Hm.',
    thinking_blocks: [
      { type: 'thinking', thinking: 'Hm.', signature: 's' },
      { type: 'redacted_thinking', data: 'YWJj' },
    ],
  })
  assert.equal(choice?.finish_reason, 'content_filter')
  const { promptTokens, cachedPromptTokens, cacheWriteTokens } = reply.usage ?? noUsage
  assert.deepEqual([promptTokens, cachedPromptTokens, cacheWriteTokens], [20, 7, 3])
})

// Bedrock's API reference: TokenUsage.cacheDetails, and serviceTier beside it.
test('writes for an hour and the tier that served, whole and streamed', async () => {
  const served = {
    usage: {
      inputTokens: 10,
      outputTokens: 5,
      totalTokens: 15,
      cacheWriteInputTokens: 30,
      cacheDetails: [
        { ttl: '1h' as const, inputTokens: 20 },
        { ttl: '5m' as const, inputTokens: 10 },
      ],
    },
    serviceTier: { type: 'priority' as const },
  }
  const expected = {
    ...noUsage,
    promptTokens: 40,
    completionTokens: 5,
    cacheWriteTokens: 30,
    cacheWrite1hTokens: 20,
    rate: 'priority',
  }
  const reply = { ...output('converse.json'), ...served }
  assert.deepEqual(completionOf(reply, model).usage, expected)
  const end = [{ messageStop: { stopReason: 'end_turn' } }, { metadata: served }]
  assert.deepEqual((await translated(end)).usage, expected)
  const normal = completionOf({ ...reply, serviceTier: { type: 'default' } }, model).usage
  assert.ok(!('rate' in (normal ?? {})))
})

test('a stream ends with its reason and usage', async () => {
  const { choices, usage, last } = await translated(
    jsonFixture('../bedrock/converse-stream.json') as unknown[],
  )
  assert.deepEqual(
    choices.map(({ delta, finish_reason: reason }) => [delta, reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{ content: ' Title' }, null],
      [{ content: ':' }, null],
      [{ content: ' The' }, null],
      [{}, 'length'],
    ],
  )
  assert.deepEqual(usage, { ...noUsage, promptTokens: 47, completionTokens: 20 })
  assert.equal((last as { usage?: { total_tokens: number } }).usage?.total_tokens, 67)
})

test('streamed reasoning is kept with its signature, redacted reasoning as it is', async () => {
  const reasoning = (reasoningContent: object) => ({
    contentBlockDelta: { contentBlockIndex: 0, delta: { reasoningContent } },
  })
  const { choices } = await translated([
    { messageStart: { role: 'assistant' } },
    reasoning({ text: 'H' }),
    reasoning({ text: 'm.' }),
    reasoning({ signature: 's' }),
    { contentBlockStop: { contentBlockIndex: 0 } },
    reasoning({ redactedContent: Buffer.from('abc') }),
    { messageStop: { stopReason: 'end_turn' } },
  ])
  assert.deepEqual(
    choices.slice(1).map(({ delta }) => delta),
    [
      { reasoning_content: 'H' },
      { reasoning_content: 'm.' },
      { thinking_blocks: [{ type: 'thinking', thinking: 'Hm.', signature: 's' }] },
      { thinking_blocks: [{ type: 'redacted_thinking', data: 'YWJj' }] },
      {},
    ],
  )
})

test('a stream without its end is cut off, a malformed answer is none', async () => {
  await assert.rejects(
    translated([{ messageStart: { role: 'assistant' } }]),
    failsWith('upstream_cut_off'),
  )
  for (const stopReason of ['malformed_tool_use', 'malformed_model_output']) {
    const failed = failsWith('upstream_invalid_response')
    await assert.rejects(translated([{ messageStop: { stopReason } }]), failed)
  }
})

const thrown = (name: string, message: string, status?: number) =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } })

test('each exception has its code and status, in a stream, too', () => {
  const cases = [
    ['ThrottlingException', 429, 'upstream_rate_limited', 429],
    ['throttlingException', undefined, 'upstream_rate_limited', 429],
    ['ServiceQuotaExceededException', 400, 'upstream_rate_limited', 429],
    ['ModelNotReadyException', 429, 'upstream_rate_limited', 429],
    ['ValidationException', 400, 'upstream_bad_request', 400],
    ['AccessDeniedException', 403, 'upstream_auth_failed', 403],
    ['ExpiredTokenException', 403, 'upstream_auth_failed', 403],
    ['ResourceNotFoundException', 404, 'upstream_not_found', 404],
    ['ModelTimeoutException', 408, 'upstream_timeout', 504],
    ['ModelErrorException', 424, 'upstream_error', 502],
    ['modelStreamErrorException', undefined, 'upstream_error', 502],
    ['InternalServerException', 500, 'upstream_error', 500],
    ['ServiceUnavailableException', 503, 'upstream_error', 503],
    ['SomethingNewException', 418, 'upstream_bad_request', 418],
    ['Error', undefined, 'upstream_invalid_response', 502],
    ['CredentialsProviderError', undefined, 'upstream_auth_failed', 401],
  ] as const
  for (const [name, status, code, told] of cases) {
    const { info } = bedrockError(thrown(name, 'what it said', status))
    assert.deepEqual([info.code, info.status], [code, told], name)
  }
  const own = new PenstockError('upstream_cut_off', 'x')
  assert.equal(bedrockError(own), own)
})

test('what a ValidationException means is known by its sentences only', () => {
  const cases = [
    ['Input is too long for requested model.', 'context_window_exceeded'],
    [
      'The model returned the following errors: prompt is too long: 903884 tokens > 200000 maximum',
      'context_window_exceeded',
    ],
    [
      "This model's maximum context length is 202752 tokens. However, you requested 65536 output tokens",
      'context_window_exceeded',
    ],
    ['The provided model identifier is invalid.', 'upstream_not_found'],
  ] as const
  for (const [message, code] of cases) {
    assert.equal(bedrockError(thrown('ValidationException', message, 400)).code, code)
  }
})

// Mistral's API against its documented and recorded wire: what becomes of its replies.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { codestral, mistral, textCompletionCodestral } from './mistral.ts'
import { failsWith, parseEvents } from './provider-test-kit.ts'
import {
  type CallOptions,
  firstChoices,
  fixturesOf,
  json,
  runCall,
  sse,
  upstreamForTests,
} from './upstream-test-kit.ts'

const upstream = await upstreamForTests()

const fixture = fixturesOf('mistral')
const messages = [{ role: 'user', content: 'Hello!' }]
const plain = { id: 'a', object: 'chat.completion', choices: [{ index: 0, message: {} }] }

function run(body: Record<string, unknown>, options: CallOptions = {}, entry = mistral) {
  const deployment = { model: 'mistral/m', apiBase: `${upstream.origin}/v1`, ...options.deployment }
  return runCall(entry.provider, body, { model: 'm', ...options, deployment })
}

type Fields = Record<string, unknown>

async function streamed(name: string, size: number, options: CallOptions = {}) {
  upstream.answer(sse(fixture(name), size))
  const { text, usage } = await run({ messages, prompt: 'x' }, { stream: true, ...options })
  const events = parseEvents(Buffer.from(text))
  return { text, events, usage, choices: firstChoices(events) }
}

test('a reply that OpenAI could have sent passes in its own bytes, another is rewritten', async () => {
  upstream.answers.push(json(fixture('fim-reply.json')))
  const same = await run({ messages })
  assert.equal(Buffer.from(same.body ?? []).toString(), fixture('fim-reply.json'))
  assert.deepEqual([same.usage?.promptTokens, same.usage?.completionTokens], [8, 91])

  upstream.answer(json(fixture('tool-call-reply.json')))
  const called = await run({ messages })
  assert.deepEqual(called.reply, JSON.parse(fixture('tool-call-reply.json')))

  upstream.answer(json(fixture('reasoning-reply.json')))
  const { reply, usage } = await run({ messages })
  const message = firstChoices([reply])[0]?.message as Fields
  assert.equal(message.content, 'Therefore, John is \\(\\boxed{22}\\) years old.')
  assert.equal(message.reasoning_content, "Okay, let's try to figure out John's age.")
  assert.equal(usage?.completionTokens, 1114)

  const long = { ...plain, choices: [{ index: 0, message: {}, finish_reason: 'model_length' }] }
  upstream.answer(json(long))
  const [cut] = firstChoices([(await run({ messages })).reply])
  assert.equal(cut?.finish_reason, 'length')
})

test('a stream of text passes in its own bytes, at any cut', async () => {
  for (const size of [1, 13, 100_000]) {
    const { text, usage } = await streamed('text-stream.sse', size)
    assert.equal(text, fixture('text-stream.sse').replace('data: [DONE]\n\n', ''))
    assert.deepEqual([usage?.promptTokens, usage?.completionTokens], [13, 8])
  }
})

test('streamed thinking and tool calls get OpenAI’s form, at any cut', async () => {
  for (const size of [1, 13, 100_000]) {
    const thought = await streamed('reasoning-stream.sse', size)
    assert.deepEqual(
      thought.choices.map(({ delta }) => delta),
      [
        { role: 'assistant', reasoning_content: 'The user is asking' },
        { reasoning_content: ' for 2+2. This is basic arithmetic. 2+2=4.' },
        { content: '2 + 2 = 4' },
        { content: '' },
      ],
    )
    assert.equal(thought.usage?.completionTokens, 46)

    const whole = await streamed('tool-call-stream.sse', size)
    const called = { name: 'weather', arguments: '{"location": "San Francisco"}' }
    assert.deepEqual(whole.choices.at(-1)?.delta, {
      tool_calls: [{ index: 0, type: 'function', id: 'gSIMJiOkT', function: called }],
    })
    assert.equal(whole.choices.at(-1)?.finish_reason, 'tool_calls')

    const pieces = await streamed('tool-call-pieces-stream.sse', size)
    const deltas = pieces.choices.flatMap(({ delta }) => {
      const { tool_calls: calls } = delta as { tool_calls?: Record<string, unknown>[] }
      return calls ?? []
    })
    const type = 'function'
    assert.deepEqual(deltas, [
      {
        index: 0,
        type,
        id: 'chatcmpl-tool-9f149c74c42f265b',
        function: { name: 'webSearchTool', arguments: '' },
      },
      { index: 0, type, function: { arguments: '{"query": "current Berlin weather"}' } },
    ])
    assert.equal(pieces.usage?.cachedPromptTokens, 128)
  }
})

test('fill-in-the-middle is OpenAI’s text completion with a suffix', async () => {
  const body = { prompt: ['def'], suffix: 'return a+b', max_tokens: 64, seed: 1, n: 1, user: 'u' }
  upstream.answers.push(json(fixture('fim-reply.json')))
  const { reply, usage } = await run(body, { operation: 'completion' }, textCompletionCodestral)
  const [received] = upstream.received
  assert.equal(received?.url, '/v1/fim/completions')
  const asked = { model: 'm', suffix: 'return a+b', max_tokens: 64, random_seed: 1, prompt: 'def' }
  assert.deepEqual(received?.body, asked)
  assert.equal(reply?.object, 'text_completion')
  const [choice] = firstChoices([reply])
  assert.match(String(choice?.text), /^add_numbers\(a: int/)
  assert.deepEqual(Object.keys(choice ?? {}), ['index', 'text', 'logprobs', 'finish_reason'])
  assert.equal(usage?.completionTokens, 91)

  for (const size of [1, 100_000]) {
    const stream = await streamed('text-stream.sse', size, { operation: 'completion' })
    assert.equal(
      stream.choices.map(({ text }) => text).join(''),
      'Hello, world! This is a test response.',
    )
    assert.ok(stream.events.every(({ object }) => object === 'text_completion'))
    assert.equal(stream.choices.at(-1)?.finish_reason, 'stop')
    assert.equal(stream.usage?.completionTokens, 8)
  }
  const whole = { deployment: { apiBase: `${upstream.origin}/v1/fim/completions` } }
  upstream.answer(json(fixture('fim-reply.json')))
  await run({ prompt: 'x' }, { ...whole, operation: 'completion' }, codestral)
  assert.equal(upstream.received.at(-1)?.url, '/v1/fim/completions')
  const several = run({ prompt: ['a', 'b'] }, { operation: 'completion' })
  await assert.rejects(several, failsWith('unsupported_parameter', 'prompt'))
  const chat = run({ messages }, {}, textCompletionCodestral)
  await assert.rejects(chat, failsWith('unsupported_parameter'))
})

test('an embedding has Mistral’s name for its dimensions', async () => {
  const reply = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.1] }] }
  upstream.answers.push(json({ ...reply, usage: { prompt_tokens: 4, total_tokens: 4 } }))
  const body = { input: ['a'], dimensions: 256, encoding_format: 'float', user: 'u' }
  const { usage } = await run(body, { operation: 'embedding' })
  const asked = { model: 'm', input: ['a'], encoding_format: 'float', output_dimension: 256 }
  assert.deepEqual(upstream.received[0]?.body, asked)
  assert.equal(upstream.received[0]?.url, '/v1/embeddings')
  assert.equal(usage?.promptTokens, 4)
})

// The bodies: Mistral's "Error glossary"; nearai/ironclaw#1241 (3280), Gage-Technologies/mistral-go#2.
test('each refusal of Mistral’s has its code', async () => {
  const error = (fields: object) => ({ object: 'error', param: null, code: null, ...fields })
  const extra = [{ type: 'extra_forbidden', loc: ['body', 'n'], msg: 'Extra inputs' }]
  const long = 'Prompt contains 40014 tokens, too large for model with 32768 maximum context length'
  const cases = [
    [400, error({ message: 'Tool call id was turn1_0', code: '3280' }), 'upstream_bad_request'],
    [400, error({ message: long }), 'context_window_exceeded'],
    [401, { detail: 'Unauthorized' }, 'upstream_auth_failed'],
    [404, error({ message: 'Invalid model', code: 'unknown_model' }), 'upstream_not_found'],
    [422, error({ message: { detail: extra } }), 'upstream_bad_request'],
    [429, error({ message: 'Rate limit exceeded' }), 'upstream_rate_limited'],
    [503, error({ message: 'overloaded' }), 'upstream_error'],
  ] as const
  for (const [status, body, code] of cases) {
    upstream.answer(json(body, status, { 'retry-after': '2' }))
    for (const stream of [false, true]) {
      await assert.rejects(run({ messages }, { stream }), (cause) => {
        assert.equal((cause as { info: { retryAfterMs: number } }).info.retryAfterMs, 2_000)
        return failsWith(code)(cause)
      })
    }
  }
})

test('a broken answer is no answer: an error as its end, an error inside, no end', async () => {
  const first = fixture('text-stream.sse').split('\n\n').slice(0, 2).join('\n\n')
  const broken = `${first}\n\ndata: {"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n`
  const reported = `${first}\n\ndata: {"object":"error","message":"no","code":"500"}\n\n`
  const cases = [
    [broken, 'upstream_error'],
    [reported, 'upstream_error'],
    [`${first}\n\n`, 'upstream_cut_off'],
  ] as const
  for (const [bytes, code] of cases) {
    for (const size of [1, 100_000]) {
      upstream.answer(sse(bytes, size))
      const emitted: string[] = []
      const emit = (events: Uint8Array) => void emitted.push(Buffer.from(events).toString())
      await assert.rejects(run({ messages }, { stream: true, emit }), failsWith(code))
      const got = parseEvents(Buffer.from(emitted.join('')))
      assert.deepEqual(got, parseEvents(Buffer.from(`${first}\n\n`)), 'it is the client’s')
    }
  }
  upstream.answer(json({ ...plain, choices: [{ index: 0, finish_reason: 'error' }] }))
  await assert.rejects(run({ messages }), failsWith('upstream_error'))
})

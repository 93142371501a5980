// The real OpenAI-compatible provider against the fake: every way in which an answer can go wrong, a
// client that leaves, and many streams at once.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { closeHttp } from '@penstock/workers/providers/http'
import type { ProviderResult } from '@penstock/workers/providers/provider'
import { testCall } from '@penstock/workers/providers/provider-test-kit'
import { resolveProvider } from '@penstock/workers/providers/resolve'
import { type FakeOpenAi, type FakeOpenAiOptions, startFakeOpenAi } from './openai.ts'
import type { Preset } from './openai-behaviour.ts'

after(closeHttp)

async function start(options: FakeOpenAiOptions = {}): Promise<FakeOpenAi> {
  const fake = await startFakeOpenAi(options)
  after(() => fake.close())
  return fake
}

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>
const messages = [{ role: 'user', content: 'one two three' }]

interface Outcome {
  result: ProviderResult | null
  error: PenstockError | null
  text: string
}

async function run(fake: FakeOpenAi, options: CallOptions = {}, body = {}): Promise<Outcome> {
  let events = ''
  const call = testCall(
    { messages, ...body },
    {
      stream: true,
      emit: (bytes) => {
        events += Buffer.from(bytes).toString()
      },
      ...options,
      deployment: { model: 'hosted_vllm/qwen', apiBase: fake.url, ...options.deployment },
    },
  )
  const { entry, model } = resolveProvider(call.deployment, {})
  const outcome = await entry.provider.run({ ...call, model }).then(
    (result) => ({ result, error: null }),
    (error: unknown) => {
      if (!(error instanceof PenstockError)) throw error
      return { result: null, error }
    },
  )
  const parsed = events
    .split('\n\n')
    .slice(0, -1)
    .map((event) => JSON.parse(event.slice('data: '.length)))
  const text = parsed.map(({ choices: [choice] }) => choice?.delta.content ?? '').join('')
  return { ...outcome, text }
}

test('each fault of an upstream is its own error, streamed and whole', async () => {
  const fake = await start()
  const cases: [Preset, string, string][] = [
    ['cut-off', 'upstream_cut_off', 'upstream_cut_off'],
    ['no-end', 'upstream_cut_off', 'upstream_invalid_response'],
    ['garbage', 'upstream_invalid_response', 'upstream_invalid_response'],
    ['error-event', 'upstream_error', 'upstream_error'],
    ['html', 'upstream_invalid_response', 'upstream_invalid_response'],
    ['rate-limited', 'upstream_rate_limited', 'upstream_rate_limited'],
    ['context-length', 'context_window_exceeded', 'context_window_exceeded'],
    ['server-error', 'upstream_error', 'upstream_error'],
  ]
  for (const [preset, streamed, whole] of cases) {
    fake.setBehaviour(preset)
    const stream = await run(fake)
    const plain = await run(fake, { stream: false })
    assert.deepEqual([stream.error?.code, plain.error?.code], [streamed, whole], preset)
    const midway = ['cut-off', 'no-end', 'garbage', 'error-event'].includes(preset)
    assert.equal(stream.text, midway ? 'tok0 tok1 tok2' : '', preset)
  }
  await fake.until(({ concurrent }) => concurrent === 0)
})

test('a rate limit keeps its Retry-After, an error its status and message', async () => {
  const fake = await start({ behaviour: 'rate-limited' })
  assert.deepEqual((await run(fake)).error?.info.retryAfterMs, 1_000)
  fake.setBehaviour('server-error')
  const { error } = await run(fake)
  assert.equal(error?.info.status, 500)
  assert.match(error.message, /^The server had an error while processing your request/)
})

test('wrong credentials are the gateway’s fault and not shown', async () => {
  const fake = await start({ apiKey: 'sk-right' })
  const { error } = await run(fake, { deployment: { apiKey: 'sk-wrong-123456' } })
  assert.equal(error?.code, 'upstream_auth_failed')
  assert.doesNotMatch(error.message, /wrong/)
  assert.equal((await run(fake, { deployment: { apiKey: 'sk-right' } })).error, null)
})

test('streams survive every cut, and an end without [DONE]', async () => {
  const fake = await start()
  const content = ['héé', ' 😊', ' ok']
  for (const chunking of ['event', 'byte', 'events', 'mid-character', 'crlf'] as const) {
    fake.setBehaviour({ chunking, content })
    const { text, result } = await run(fake)
    assert.deepEqual([text, result?.usage?.completionTokens], ['héé 😊 ok', 3])
  }
  fake.setBehaviour('no-done')
  assert.equal((await run(fake)).text, 'tok0 tok1 tok2 tok3 tok4')
})

test('what an upstream does not report is null, and a reply that does not stream still answers', async () => {
  const fake = await start({ behaviour: 'no-usage' })
  assert.equal((await run(fake)).result?.usage, null)
  assert.equal((await run(fake, { stream: false })).result?.usage, null)
  fake.setBehaviour('not-streamed')
  const { text, result } = await run(fake)
  assert.deepEqual([text, result?.usage?.completionTokens], ['tok0 tok1 tok2 tok3 tok4', 5])
})

test('vLLM’s continuous usage is forwarded and the last one counts', async () => {
  const fake = await start({ flavour: 'vllm', behaviour: { tokens: 4, cachedTokens: 2 } })
  const options = { stream_options: { continuous_usage_stats: true } }
  const { text, result } = await run(fake, {}, options)
  assert.equal(text, 'tok0 tok1 tok2 tok3')
  assert.deepEqual([result?.usage?.completionTokens, result?.usage?.cachedPromptTokens], [4, 2])
})

test('a client that leaves stops the upstream at once, whatever it is doing', async () => {
  const fake = await start()
  const left = new PenstockError('client_closed_request', 'left')
  for (const preset of ['hang', 'stall'] as const) {
    for (const stream of [true, false]) {
      fake.setBehaviour(preset)
      const leaving = new AbortController()
      const before = fake.counts.aborted
      const running = run(fake, { stream, signal: leaving.signal })
      await fake.until(({ concurrent }) => concurrent === 1)
      leaving.abort(left)
      assert.equal((await running).error, left)
      await fake.until(({ aborted }) => aborted === before + 1)
    }
  }
})

test('200 streams at once: every token in order, and our count is the upstream’s', async () => {
  const gate = Promise.withResolvers<void>()
  const fake = await start({ behaviour: { tokens: 100, gate: gate.promise }, keepCalls: 0 })
  const running = Array.from({ length: 200 }, () => run(fake))
  await fake.until(({ concurrent }) => concurrent === 200)
  gate.resolve()
  const all = await Promise.all(running)
  const expected = Array.from({ length: 100 }, (_, i) => `tok${i}`).join(' ')
  for (const { text, error } of all) assert.deepEqual([text, error], [expected, null])
  const counted = all.reduce((sum, { result }) => sum + (result?.usage?.completionTokens ?? 0), 0)
  assert.deepEqual([counted, fake.counts.completionTokens], [20_000, 20_000])
})

test('a body of 20 MB goes through', async () => {
  const fake = await start({ keepCalls: 1 })
  const url = `data:image/png;base64,${'A'.repeat(20_000_000)}`
  const content = [{ type: 'image_url', image_url: { url } }]
  const { error } = await run(fake, {}, { messages: [{ role: 'user', content }] })
  assert.equal(error, null)
  assert.equal(JSON.stringify(fake.calls[0]?.body.messages).includes(url), true)
})

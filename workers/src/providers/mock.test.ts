// LiteLLM's mock_response, through resolveProvider as a worker meets it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failsWith, testCall } from './provider-test-kit.ts'
import { resolveProvider } from './resolve.ts'
import { chunksOf, textOf } from './sim-test-kit.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>

async function run(mockResponse: string, options: CallOptions = {}, body = {}) {
  const emitted: Uint8Array[] = []
  const deployment = { model: 'gpt-4o', mockResponse }
  const call = testCall(
    { messages: [{ role: 'user', content: 'one two' }], ...body },
    { model: 'gpt-4o', emit: (events) => void emitted.push(events), ...options, deployment },
  )
  const { entry } = resolveProvider(call.deployment, {})
  const outcome = await entry.provider.run(call).then(
    (result) => ({ result, error: null }),
    (error: unknown) => ({ result: null, error }),
  )
  const chunks = chunksOf(emitted)
  return { ...outcome, entry, chunks, text: textOf(chunks) }
}

const said = "It's simple  to use\n and easy "

test('the text is the answer, whole and streamed, for a provider that is never called', async () => {
  const whole = await run(said)
  const reply = JSON.parse(Buffer.from(whole.result?.body ?? []).toString())
  assert.equal(reply.choices[0].message.content, said)
  assert.equal(reply.model, 'gpt-4o')
  assert.equal(whole.result?.usage?.promptTokens, 2)
  const streamed = await run(said, { stream: true, includeUsage: true })
  assert.equal(streamed.text, said)
  assert.equal(streamed.chunks.at(-1)?.usage?.prompt_tokens, 2)
  assert.deepEqual([whole.entry.pricesAs, whole.entry.slots], ['openai', 64])
})

test('LiteLLM’s special texts raise the errors that they name', async () => {
  const cases = {
    'litellm.RateLimitError': 'upstream_rate_limited',
    'litellm.ContextWindowExceededError': 'context_window_exceeded',
    'litellm.InternalServerError': 'upstream_error',
    'Exception: content_filter_policy': 'content_policy_violation',
  }
  for (const [text, code] of Object.entries(cases)) {
    const { error, chunks } = await run(text, { stream: true })
    assert.ok(failsWith(code)(error))
    assert.equal(chunks.length, 0)
  }
})

test('a mocked streaming error comes after the first tokens', async () => {
  const { error, text } = await run('Exception: mock_streaming_error', { stream: true })
  assert.ok(failsWith('upstream_error')(error))
  assert.equal(text, 'This is a mock')
})

test('embeddings of a mocked deployment are simulated', async () => {
  const { result } = await run('hi', { operation: 'embedding' }, { input: 'x', dimensions: 4 })
  const reply = JSON.parse(Buffer.from(result?.body ?? []).toString())
  assert.equal(reply.data[0].embedding.length, 4)
})

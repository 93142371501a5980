// LiteLLM's `mock_response`: a deployment of any provider that answers a fixed text, or fails in a
// chosen way, without its upstream.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { noUsage } from '@penstock/shared/contracts/usage'
import type { Provider, ProviderCall, ProviderEntry } from './provider.ts'
import { sendAnswer } from './sim.ts'
import { type Answer, streamedReply } from './sim-answer.ts'
import { embeddingReply } from './sim-embedding.ts'
import { promptWords } from './sim-text.ts'

// The texts that LiteLLM raises as errors (its docs, "Mock Completion() Responses", and main.py).
const failures = new Map<string, () => PenstockError>([
  [
    'litellm.RateLimitError',
    () => new PenstockError('upstream_rate_limited', 'This is a mock rate limit error.'),
  ],
  [
    'litellm.ContextWindowExceededError',
    () => new PenstockError('context_window_exceeded', 'This is a mock context window error.'),
  ],
  [
    'litellm.InternalServerError',
    () => new PenstockError('upstream_error', 'This is a mock server error.', { status: 500 }),
  ],
])
const contentFilter = 'Exception: content_filter_policy'
const streamingError = 'Exception: mock_streaming_error'

/** The same entry with a provider that answers `response` instead of calling anything. */
export function mocked(entry: ProviderEntry, response: string): ProviderEntry {
  const provider: Provider = { run: (call) => answerMock(call, response) }
  return { ...entry, provider, native: [] }
}

async function answerMock(call: ProviderCall, response: string) {
  const failure = failures.get(response)
  if (failure !== undefined) throw failure()
  if (response.startsWith(contentFilter)) {
    throw new PenstockError('content_policy_violation', 'This is a mock content filter error.')
  }
  if (call.operation === 'embedding') {
    const { body, tokens } = embeddingReply(call)
    return { body, usage: { ...noUsage, promptTokens: tokens } }
  }
  const broken = response.startsWith(streamingError)
  const answer: Answer = {
    pieces: (broken ? 'This is a mock' : response).match(/\s*\S+|\s+$/g) ?? [],
    finish: 'stop',
    tool: null,
    promptTokens: promptWords(call.operation, call.body),
  }
  if (!broken) return sendAnswer(call, answer, { sim_tokens_per_second: 0 })
  if (call.stream) {
    const { opening, piece } = streamedReply(call, answer)
    call.emit(Buffer.from(opening + answer.pieces.map((text) => piece(text)).join('')))
  }
  throw new PenstockError('upstream_error', 'This is a mock error inside a stream.', {
    status: 500,
  })
}

// The provider for Mistral's API (docs.mistral.ai): chat completions close to OpenAI's, embeddings, and
// fill-in-the-middle as OpenAI's text completion with a suffix. Codestral has a host of its own.
import type { RoutedOperation, TextOperation } from '@penstock/shared/contracts/request'
import { type HttpResponse, readAll, readError, send } from './http.ts'
import {
  chatEvents,
  chatFields,
  completionEvents,
  completionFields,
  isDifferent,
} from './mistral-reply.ts'
import { mistralBody } from './mistral-request.ts'
import { everything, unsupported } from './openai.ts'
import { parseReply } from './openai-reply.ts'
import { apiBaseOf, endpointUrl, headersFor, maxReplyBytes } from './openai-request.ts'
import { routedOperations } from './openai-routed.ts'
import { runStream } from './openai-stream.ts'
import { usageOf } from './openai-usage.ts'
import type { Provider, ProviderCall, ProviderResult } from './provider.ts'
import type { TableEntry } from './table.ts'

function mistralProvider(
  operations: readonly TextOperation[],
  routed: readonly RoutedOperation[] = [],
): Provider {
  return {
    // Moderations and transcriptions are OpenAI's, on the wire too (docs.mistral.ai, "Moderations",
    // "File transcription"), but for the names of lists.
    routed: routedOperations({ operations, strict: true, plainLists: true }, routed),
    async run(call) {
      if (!operations.includes(call.operation)) throw unsupported(call)
      const { deployment, operation, signal } = call
      const path = operation === 'completion' ? '/fim/completions' : undefined
      const response = await send({
        url: endpointUrl(apiBaseOf(deployment), operation, path),
        headers: headersFor(deployment),
        body: JSON.stringify(mistralBody(call)),
        signal,
      })
      if (response.status !== 200) throw await readError(response)
      return call.stream ? streamed(call, response) : whole(call, response)
    },
  }
}

function streamed(call: ProviderCall, response: HttpResponse): Promise<ProviderResult> {
  // A stream of fill-in-the-middle is a chat's on the wire: it is read as such, then turned.
  const events = call.operation === 'completion' ? completionEvents : chatEvents
  return runStream({ ...call, emit: events(call.emit) }, response)
}

async function whole(call: ProviderCall, response: HttpResponse): Promise<ProviderResult> {
  const bytes = await readAll(response.body, maxReplyBytes)
  const reply = parseReply(call.operation, bytes)
  const usage = usageOf(reply)
  if (call.operation === 'completion') return { body: encoded(completionFields(reply)), usage }
  const isChat = call.operation === 'chat'
  return { body: isChat && isDifferent(bytes) ? encoded(chatFields(reply)) : bytes, usage }
}

const encoded = (reply: unknown): Uint8Array => Buffer.from(JSON.stringify(reply))

const sold = { slots: 64, locality: 'cloud', pricesAs: 'mistral' } as const

export const mistral: TableEntry = {
  ...sold,
  provider: mistralProvider(everything, ['moderation', 'transcription']),
  prefixes: ['mistral'],
  extensions: ['reasoning_content'],
  apiBase: 'https://api.mistral.ai/v1',
  apiBaseEnv: ['MISTRAL_API_BASE'],
  apiKeyEnv: 'MISTRAL_API_KEY',
}

const atCodestral = {
  ...sold,
  apiBase: 'https://codestral.mistral.ai/v1',
  apiKeyEnv: 'CODESTRAL_API_KEY',
} as const

export const codestral: TableEntry = {
  ...atCodestral,
  provider: mistralProvider(['chat', 'completion']),
  prefixes: ['codestral'],
}

/** For code editors: fill-in-the-middle and nothing else. */
export const textCompletionCodestral: TableEntry = {
  ...atCodestral,
  provider: mistralProvider(['completion']),
  prefixes: ['text-completion-codestral'],
}

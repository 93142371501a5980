// The provider for everything that speaks OpenAI's API: OpenAI itself, vLLM and any `api_base`. What
// differs between them is data, at the end of this file.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { readAll, readError, send } from './http.ts'
import { parseReply } from './openai-reply.ts'
import { buildRequest, maxReplyBytes, type OpenAiDialect } from './openai-request.ts'
import { routedOperations } from './openai-routed.ts'
import { runStream } from './openai-stream.ts'
import { usageOf } from './openai-usage.ts'
import type { Provider, ProviderCall, ProviderResult } from './provider.ts'
import type { TableEntry } from './table.ts'

/** A provider for servers that speak OpenAI's API in this way. */
export function openAiCompatible(dialect: OpenAiDialect): Provider {
  return {
    async run(call) {
      if (!dialect.operations.includes(call.operation)) throw unsupported(call)
      const response = await send(buildRequest(call, dialect))
      if (response.status !== 200) throw await readError(response)
      return call.stream ? runStream(call, response) : plain(call, response.body)
    },
    ...(dialect.routed === undefined ? {} : { routed: routedOperations(dialect, dialect.routed) }),
  }
}

/** The reply goes to the client in the bytes in which it came. */
async function plain(call: ProviderCall, body: AsyncIterable<Uint8Array>): Promise<ProviderResult> {
  const bytes = await readAll(body, maxReplyBytes)
  return { body: bytes, usage: usageOf(parseReply(call.operation, bytes)) }
}

/** For an operation that the upstream has no route for. */
export function unsupported({ operation, deployment }: ProviderCall): PenstockError {
  const message = `The deployment ${deployment.model} does not serve requests for ${operation}.`
  return new PenstockError('unsupported_parameter', message)
}

export const everything = ['chat', 'completion', 'embedding'] as const

// LiteLLM reads these variables too, and like OpenAI's own SDKs it sends the key to whatever api_base
// is configured.
const atOpenAi = {
  slots: 64,
  locality: 'cloud',
  apiBase: 'https://api.openai.com/v1',
  apiBaseEnv: ['OPENAI_BASE_URL', 'OPENAI_API_BASE'],
  apiKeyEnv: 'OPENAI_API_KEY',
  pricesAs: 'openai',
} as const

export const openai: TableEntry = {
  ...atOpenAi,
  // OpenAI itself has no rerank; servers behind another api_base do (llama.cpp, Infinity).
  provider: openAiCompatible({
    operations: everything,
    routed: ['moderation', 'rerank', 'image', 'speech', 'transcription', 'translation'],
    strict: true,
  }),
  prefixes: ['openai', 'custom_openai'],
  // gpt-oss is open weights: others serve it, OpenAI does not.
  owns: /^(?:gpt-(?!oss)|chatgpt-|o\d+(?:-|$)|text-embedding-|omni-moderation-|text-moderation-|dall-e-|tts-|whisper-|ft:|codex-|davinci-|babbage-)/,
}

/**
 * Models that know nothing but `/completions`, as GitLab's AI gateway uses them. LiteLLM would turn a
 * chat into one prompt with a template that it guesses; here a chat is refused.
 */
export const textCompletionOpenai: TableEntry = {
  ...atOpenAi,
  provider: openAiCompatible({ operations: ['completion'], strict: true }),
  prefixes: ['text-completion-openai'],
}

/** Not strict: it ignores what it does not know, and has a `priority` of its own. */
export const vllm: TableEntry = {
  provider: openAiCompatible({
    operations: everything,
    routed: ['rerank', 'transcription', 'translation'],
    strict: false,
  }),
  prefixes: ['hosted_vllm', 'vllm'],
  extensions: ['reasoning_content'],
  slots: 64,
  locality: 'local',
  apiBaseEnv: ['HOSTED_VLLM_API_BASE'],
  apiKeyEnv: 'HOSTED_VLLM_API_KEY',
}

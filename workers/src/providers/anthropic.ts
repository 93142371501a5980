// The provider for Anthropic's Messages API: chats, whole or streamed, with tools, images, documents
// and thinking; and for whoever else speaks it at another api_base.
import { z } from 'zod'
import { readAnthropicError, streamedAnthropicError } from './anthropic-errors.ts'
import { passAnthropic } from './anthropic-native.ts'
import {
  completionOf,
  parseAnthropic,
  unexpected,
  usageCounts,
  usageOf,
} from './anthropic-reply.ts'
import { anthropicRequest, nativeRequest } from './anthropic-request.ts'
import { translateAnthropic } from './anthropic-stream.ts'
import { chatOnly } from './canonical-parameters.ts'
import { readAll, send } from './http.ts'
import type { NativeCall, Provider, ProviderCall, ProviderResult } from './provider.ts'
import type { TableEntry } from './table.ts'

/** 128,000 tokens of text and thinking are a hundredth of that. */
const maxReplyBytes = 64 * 1024 * 1024

const provider: Provider = {
  async run(call) {
    chatOnly(call)
    if (call.native !== undefined) return passThrough(call, call.native)
    const response = await send(anthropicRequest(call))
    if (response.status !== 200) throw await readAnthropicError(response)
    if (!call.stream) return whole(call, response.body)
    const type = response.headers['content-type'] ?? ''
    if (!type.includes('event-stream')) throw await noStream(response.body)
    return { body: null, usage: await translateAnthropic(call, response.body) }
  },
}

export const anthropic: TableEntry = {
  provider,
  prefixes: ['anthropic'],
  native: ['messages'],
  extensions: ['thinking', 'cache_control'],
  owns: /^claude-/,
  slots: 64,
  locality: 'cloud',
  apiBase: 'https://api.anthropic.com',
  apiBaseEnv: ['ANTHROPIC_API_BASE', 'ANTHROPIC_BASE_URL'],
  apiKeyEnv: 'ANTHROPIC_API_KEY',
  pricesAs: 'anthropic',
}

/** Its client speaks Anthropic's API: the bytes of the answer go back as they come. */
async function passThrough(call: ProviderCall, native: NativeCall): Promise<ProviderResult> {
  const response = await send(nativeRequest(call, native))
  if (response.status !== 200) throw await readAnthropicError(response)
  if (call.stream) {
    const type = response.headers['content-type'] ?? ''
    if (!type.includes('event-stream')) throw await noStream(response.body)
    return { body: null, usage: await passAnthropic(call, response.body) }
  }
  const body = await readAll(response.body, maxReplyBytes)
  const reply = parseReply(Buffer.from(body).toString('utf8'))
  const { usage } = parseAnthropic(z.object({ usage: z.unknown().optional() }), reply)
  return { body, usage: usageOf(usageCounts(usage)) }
}

async function whole(call: ProviderCall, body: AsyncIterable<Uint8Array>): Promise<ProviderResult> {
  const text = Buffer.from(await readAll(body, maxReplyBytes)).toString('utf8')
  const { body: reply, usage } = completionOf(parseReply(text), call.model)
  return { body: Buffer.from(JSON.stringify(reply)), usage }
}

/** Why no stream came: a proxy's page, an error with status 200, or a server that cannot stream. */
async function noStream(body: AsyncIterable<Uint8Array>): Promise<Error> {
  parseReply(Buffer.from(await readAll(body, maxReplyBytes)).toString('utf8'))
  return unexpected('a whole answer instead of a stream')
}

function parseReply(text: string): unknown {
  let reply: unknown
  try {
    reply = JSON.parse(text)
  } catch {
    throw unexpected('an answer that is not JSON')
  }
  // Some servers that speak this API send an error with status 200.
  if (typeof reply === 'object' && reply !== null && 'error' in reply) {
    throw streamedAnthropicError(text)
  }
  return reply
}

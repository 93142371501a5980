// The provider for Ollama's own API (docs/api.md of ollama/ollama): chat, text completion and
// embeddings, whole or streamed, with the upstream's errors as Penstock's. Requests in Ollama's own
// form go through untranslated.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { readAll, readError, send } from './http.ts'
import { chatCall } from './ollama-chat.ts'
import { embedCall } from './ollama-embed.ts'
import { type EndpointCall, type Translate, unexpected } from './ollama-endpoint.ts'
import { refineError, reportedError } from './ollama-errors.ts'
import { generateCall } from './ollama-generate.ts'
import { nativeDialects, nativeRequest, passStream } from './ollama-native.ts'
import { translateStream } from './ollama-stream.ts'
import { usageOf } from './ollama-usage.ts'
import type { Provider, ProviderCall, ProviderEntry, ProviderResult } from './provider.ts'

const defaultApiBase = 'http://127.0.0.1:11434'
/** Some 2,000 embeddings of 4,096 numbers; a chat's reply is a thousandth of that. */
const maxReplyBytes = 128 * 1024 * 1024

const endpoints = { chat: chatCall, completion: generateCall, embedding: embedCall }

const provider: Provider = {
  async run(call) {
    if (call.native !== undefined) return passThrough(call, nativeRequest(call, call.native))
    const endpoint = endpoints[call.operation](call)
    const body = await ask(call, endpoint)
    return call.stream && endpoint.stream !== null
      ? streamed(call, endpoint.stream(), body)
      : whole(call, endpoint, body)
  },
}

/**
 * LiteLLM sends `ollama/` chats to /api/generate with a prompt that it builds itself, and
 * `ollama_chat/` ones to /api/chat. Here both go to /api/chat: the model's own template, tools and
 * images work there, and a client cannot tell the difference otherwise.
 */
export const ollama: ProviderEntry = {
  provider,
  prefixes: ['ollama', 'ollama_chat'],
  native: nativeDialects,
  extensions: ['reasoning_content'],
  // OLLAMA_NUM_PARALLEL is 1 by default: a second call would only wait there, unseen by our queue.
  slots: 1,
  locality: 'local',
  apiBase: defaultApiBase,
}

async function ask(
  call: ProviderCall,
  { path, request }: Pick<EndpointCall, 'path' | 'request'>,
): Promise<AsyncIterable<Uint8Array>> {
  const response = await send({
    url: endpointUrl(call.deployment.apiBase, path),
    headers: headersOf(call),
    body: JSON.stringify(request),
    signal: call.signal,
  })
  if (response.status === 200) return response.body
  throw refineError(await readError(response), response.status, call.model)
}

/** The client speaks as this upstream does: its answer's bytes go back as they come. */
async function passThrough(
  call: ProviderCall,
  request: Pick<EndpointCall, 'path' | 'request'>,
): Promise<ProviderResult> {
  const body = await ask(call, request)
  if (call.stream) {
    return { body: null, usage: usageOf(await passStream(body, call.model, call.emit)) }
  }
  const bytes = await readAll(body, maxReplyBytes)
  return { body: bytes, usage: usageOf(parseReplyOf(bytes, call.model)) }
}

async function streamed(
  call: ProviderCall,
  translate: Translate,
  body: AsyncIterable<Uint8Array>,
): Promise<ProviderResult> {
  const last = await translateStream(body, call.model, translate, call.emit)
  return { body: null, usage: usageOf(last) }
}

async function whole(
  call: ProviderCall,
  endpoint: EndpointCall,
  body: AsyncIterable<Uint8Array>,
): Promise<ProviderResult> {
  const parsed = parseReplyOf(await readAll(body, maxReplyBytes), call.model)
  const { body: reply, usage } = endpoint.reply(parsed)
  return { body: Buffer.from(JSON.stringify(reply)), usage }
}

/** @throws PenstockError `upstream_invalid_response`; what the reply reports, where it is an error */
function parseReplyOf(bytes: Uint8Array, model: string): object {
  const parsed = parseJson(bytes)
  if (typeof parsed !== 'object' || parsed === null) throw unexpected('a reply that is no object')
  if ('error' in parsed) throw reportedError(parsed, model)
  return parsed
}

/** LiteLLM's users may have the endpoint's path in `api_base`. */
function endpointUrl(apiBase: string | null, path: string): string {
  const base = (apiBase ?? defaultApiBase).replace(/\/+$/, '')
  return base.replace(/\/api\/(?:chat|generate|embed|embeddings)$/, '') + path
}

/** Ollama itself asks for no key; a proxy in front of it, or ollama.com, may. */
function headersOf({ deployment }: ProviderCall): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...(deployment.apiKey === null ? {} : { authorization: `Bearer ${deployment.apiKey}` }),
    ...deployment.extraHeaders,
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'))
  } catch (cause) {
    throw new PenstockError('upstream_invalid_response', 'Ollama sent a reply that is not JSON.', {
      cause,
    })
  }
}

// The provider for Google AI Studio's Gemini API (ai.google.dev/api): chats by generateContent and
// streamGenerateContent, embeddings.
import { embeddingList, embedSteps, vectorsOf } from './gemini-embed.ts'
import { readGeminiError, unexpected } from './gemini-errors.ts'
import { chatCompletion } from './gemini-reply.ts'
import { geminiRequest } from './gemini-request.ts'
import { translateStream } from './gemini-stream.ts'
import { type HttpResponse, readAll, send } from './http.ts'
import { unsupported } from './openai.ts'
import { apiBaseOf, headersFor, maxReplyBytes } from './openai-request.ts'
import type { Provider, ProviderCall, ProviderResult } from './provider.ts'
import type { TableEntry } from './table.ts'

const provider: Provider = {
  async run(call) {
    switch (call.operation) {
      case 'chat':
        return call.stream ? streamed(call) : whole(call)
      case 'embedding':
        return embed(call)
      case 'completion':
        throw unsupported(call)
    }
  },
}

export const gemini: TableEntry = {
  provider,
  prefixes: ['gemini'],
  extensions: ['thinking'],
  slots: 64,
  locality: 'cloud',
  apiBase: 'https://generativelanguage.googleapis.com/v1beta',
  apiBaseEnv: ['GEMINI_API_BASE'],
  apiKeyEnv: 'GEMINI_API_KEY',
  otherKeyEnv: ['GOOGLE_API_KEY'],
  pricesAs: 'google',
}

async function whole(call: ProviderCall): Promise<ProviderResult> {
  const response = await ask(call, 'generateContent', geminiRequest(call))
  const { body, usage } = chatCompletion(await parsed(response), call.model)
  return { body: Buffer.from(JSON.stringify(body)), usage }
}

async function streamed(call: ProviderCall): Promise<ProviderResult> {
  const response = await ask(call, 'streamGenerateContent?alt=sse', geminiRequest(call))
  if (!(response.headers['content-type'] ?? '').includes('event-stream')) {
    await readAll(response.body, maxReplyBytes)
    throw unexpected('something else than the stream that it was asked for')
  }
  return { body: null, usage: await translateStream(response.body, call) }
}

/** One call for up to 100 inputs, one after the other: an account's limit counts them alike. */
async function embed(call: ProviderCall): Promise<ProviderResult> {
  const vectors: number[][] = []
  const replies: unknown[] = []
  for (const step of embedSteps(call, modelPath(call.model))) {
    const reply = await parsed(await ask(call, step.method, step.body))
    for (const vector of vectorsOf(step, reply)) vectors.push(vector)
    replies.push(reply)
  }
  const { body, usage } = embeddingList(call, vectors, replies)
  return { body: Buffer.from(JSON.stringify(body)), usage }
}

/** @throws PenstockError for an answer that is no success */
async function ask(
  call: ProviderCall,
  method: string,
  body: Record<string, unknown>,
): Promise<HttpResponse> {
  const { deployment, model, signal } = call
  const response = await send({
    url: geminiUrl(apiBaseOf(deployment), model, method),
    headers: headersFor(deployment, ({ apiKey }) =>
      apiKey === null ? {} : { 'x-goog-api-key': apiKey },
    ),
    body: JSON.stringify(body),
    signal,
  })
  if (response.status === 200) return response
  throw await readGeminiError(response)
}

/**
 * `api_base` with or without a version or a model at its end; tuned models have a path of their own.
 * With a wildcard the model is the client's text: no mark in it may lead to another method.
 */
export function geminiUrl(apiBase: string, model: string, method: string): string {
  const base = apiBase.replace(/\/+$/, '').replace(/\/models(?:\/.*)?$/, '')
  const versioned = /^https?:\/\/[^/]+$/.test(base) ? `${base}/v1beta` : base
  const path = modelPath(model).split('/').map(encodeURIComponent).join('/')
  return `${versioned}/${path}:${method}`
}

function modelPath(model: string): string {
  return model.includes('/') ? model : `models/${model}`
}

async function parsed({ body }: HttpResponse): Promise<unknown> {
  const bytes = await readAll(body, maxReplyBytes)
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch (cause) {
    throw unexpected('an answer that is not JSON', cause)
  }
}

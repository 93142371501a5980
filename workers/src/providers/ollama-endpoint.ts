// What each of Ollama's endpoints provides to ollama.ts: the request, and the way back to OpenAI's
// form for a whole reply and for a stream.
import type { PenstockError } from '@penstock/shared/contracts/errors'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import type { z } from 'zod'
import type { StreamLine } from './ollama-stream.ts'
import { parseFrom, unexpectedFrom } from './unexpected-reply.ts'

export interface EndpointCall {
  path: '/api/chat' | '/api/generate' | '/api/embed' | '/api/embeddings'
  request: Record<string, unknown>
  /** The canonical reply; `usage` is null where Ollama counted nothing. */
  reply(parsed: unknown): { body: object; usage: TokenUsage | null }
  /** Starts the translation of a stream; null: this endpoint has none. */
  stream: (() => Translate) | null
}

/** One line of a stream as canonical SSE events, '' for none. */
export type Translate = (line: StreamLine) => string

/** @throws PenstockError `upstream_invalid_response` when Ollama's reply is not of its form. */
export function parseReply<T>(schema: z.ZodType<T>, value: unknown): T {
  return parseFrom('Ollama', schema, value)
}

export function unexpected(what: string): PenstockError {
  return unexpectedFrom('Ollama', what)
}

/** OpenAI's word for why it ended. Ollama's are `stop`, `length` or none (docs/api.md). */
export function finishReason(doneReason: unknown, calledTools: boolean): string {
  if (doneReason === 'length') return 'length'
  return calledTools ? 'tool_calls' : 'stop'
}

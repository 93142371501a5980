// The most tokens that a request can take, before any tokenizer has seen it. Upper bounds, not
// estimates: they are what a budget is reserved by, and billing settles them to the truth.
import { isUpload, type Operation } from '@penstock/shared/contracts/request'
import type { KnownFields } from '../schemas.ts'

/** System prompts and role markers that a model's chat template adds. */
const templateTokens = 128
/** What providers and templates say about tools besides their definitions (Anthropic: up to 735). */
const toolsTokens = 1_024
/** `detail: low` is a small thumbnail everywhere. */
const lowDetailTokens = 3_000
/** The dearest known: eight tiles of OpenAI's gpt-4o-mini, 2,833 + 8 × 5,667 tokens. */
const imageTokens = 50_000
/** An image made: OpenAI's largest at its highest quality takes 6,240 tokens. */
const imageAnswerTokens = 8_192
/** Base64 characters of audio for a token: 10 to 32 tokens a second, of 1,000 characters or more. */
const audioCharacters = 16
/** The same of bytes that travel as they are, and their time: 6 kbit/s is the lowest that Opus has. */
const audioBytes = 12
const msPerAudioByte = 4 / 3
/** Speech for a character: some 20 tokens a second, for a slow reader's 10 characters. */
const speechTokens = 2
/** A video, a file: what it holds cannot be told from the request. */
const opaqueTokens = 128_000

const textParts = ['text', 'refusal', 'thinking']

/**
 * Tokens of the prompt: a byte-level tokenizer never makes more tokens than bytes, and a body in JSON
 * is longer than the texts, tools and schemas in it. Only what is no text is counted apart.
 * @param bodyBytes of the whole body
 */
export function promptBound(request: KnownFields, operation: Operation, bodyBytes: number): number {
  if (isUpload(operation)) {
    const hint = typeof request.prompt === 'string' ? Buffer.byteLength(request.prompt) : 0
    return Math.ceil(bodyBytes / audioBytes) + hint + templateTokens
  }
  let tokens = bodyBytes + templateTokens
  if ('tools' in request || 'functions' in request) tokens += toolsTokens
  for (const { content } of request.messages ?? []) {
    if (!Array.isArray(content)) continue
    for (const part of content) tokens += partCorrection(part)
  }
  return Math.max(0, tokens)
}

/** Length of the audio in an upload, in milliseconds. */
export function audioBound(operation: Operation, bodyBytes: number): number {
  return isUpload(operation) ? Math.ceil(bodyBytes * msPerAudioByte) : 0
}

/**
 * Tokens of the answer, reasoning included.
 * @param unlimited what one choice can have where the request says nothing
 */
export function answerBound(request: KnownFields, operation: Operation, unlimited: number): number {
  if (operation === 'image') return Math.max(unlimited, imageAnswerTokens) * (request.n ?? 1)
  if (operation === 'speech') {
    return typeof request.input === 'string' ? request.input.length * speechTokens : unlimited
  }
  if (isUpload(operation)) return unlimited
  if (operation !== 'chat' && operation !== 'completion') return 0
  const { n, best_of: bestOf, prompt, max_tokens: max, max_completion_tokens: newer } = request
  // Which of the two the upstream goes by is not known here.
  const limit = Math.max(max ?? 0, newer ?? 0)
  const choices = Math.max(n ?? 1, bestOf ?? 1) * promptsIn(prompt)
  return (limit > 0 ? limit : unlimited) * choices
}

/** A list of texts, or of lists of token ids, is answered one by one. */
function promptsIn(prompt: unknown): number {
  return Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt.length : 1
}

/** What to add to the bytes that the part has in the body. */
function partCorrection(part: Record<string, unknown>): number {
  if (part.type === 'image_url') {
    const image = part.image_url
    const url = typeof image === 'string' ? image : fieldOf(image, 'url')
    const tokens = fieldOf(image, 'detail') === 'low' ? lowDetailTokens : imageTokens
    return tokens - inlineLength(url)
  }
  if (part.type === 'input_audio') {
    const data = fieldOf(part.input_audio, 'data')
    if (typeof data !== 'string') return opaqueTokens
    return Math.ceil(data.length / audioCharacters) - data.length
  }
  return textParts.includes(String(part.type)) ? 0 : opaqueTokens
}

function inlineLength(url: unknown): number {
  return typeof url === 'string' && url.startsWith('data:') ? url.length : 0
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

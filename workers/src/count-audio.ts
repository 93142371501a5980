// What audio takes where an upstream does not say: estimates by the pace at which people read aloud, for
// nobody here looks into audio.
import { countCompletionTokens } from './count-tokens.ts'

/** About 150 words. */
const charactersPerMinute = 900
/** OpenAI's pricing page: a minute of gpt-4o-mini-tts is about $0.015, at $12 per million tokens. */
const speechTokensPerMinute = 1_250

/** Tokens of the audio that a text was read out as. @param fields of the request */
export function countSpeechTokens({ input }: Record<string, unknown>): number {
  if (typeof input !== 'string') return 0
  return Math.round((input.length / charactersPerMinute) * speechTokensPerMinute)
}

/**
 * Tokens of a transcript, and about how long the audio was, in milliseconds.
 * @param isPlain the bytes are no JSON: text, or captions with their times
 */
export async function countTranscript(
  body: Uint8Array,
  isPlain: boolean,
): Promise<{ completionTokens: number; audioMs: number }> {
  const written = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()
  const text = isPlain
    ? written.replace(/^(?:WEBVTT|\d+|.* --> .*)\r?$/gm, '').trim()
    : textIn(written)
  const completionTokens = await countCompletionTokens(text)
  return { completionTokens, audioMs: Math.round((text.length / charactersPerMinute) * 60_000) }
}

/** A provider has seen that there is one. */
function textIn(json: string): string {
  const reply: unknown = JSON.parse(json)
  if (typeof reply === 'string') return reply
  const isObject = typeof reply === 'object' && reply !== null
  return isObject && 'text' in reply && typeof reply.text === 'string' ? reply.text : ''
}

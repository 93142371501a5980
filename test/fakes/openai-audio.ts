// What the fake OpenAI hears and says: uploads as it reads them, speech of a thousand bytes a character,
// transcripts that say what file came.
import { createHash } from 'node:crypto'

export interface FakeAudioReply {
  contentType: string
  body: Buffer
}

/** A form's fields, lists where one came several times, and in the place of its file what it was. */
export async function readForm(
  contentType: string,
  bytes: Buffer,
): Promise<Record<string, unknown> | null> {
  const response = new Response(new Uint8Array(bytes), { headers: { 'content-type': contentType } })
  const form = await response.formData().catch(() => null)
  if (form === null) return null
  const body: Record<string, unknown> = {}
  for (const name of new Set(form.keys())) {
    const values = await Promise.all(form.getAll(name).map(described))
    body[name] = values.length === 1 ? values[0] : values
  }
  return body
}

async function described(value: string | File): Promise<unknown> {
  if (typeof value === 'string') return value
  const bytes = Buffer.from(await value.arrayBuffer())
  return { name: value.name, type: value.type, bytes: bytes.length, sha256: sha256(bytes) }
}

export const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex')

// OpenAI's formats; mp3 is its default.
const speechTypes: Record<string, string> = {
  mp3: 'audio/mpeg',
  opus: 'audio/opus',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

/** Null: no route of audio. */
export function audioReply(path: string, body: Record<string, unknown>): FakeAudioReply | null {
  if (path === '/audio/speech') {
    const contentType = speechTypes[String(body.response_format ?? 'mp3')] ?? 'audio/mpeg'
    return { contentType, body: speechOf(String(body.input)) }
  }
  if (path !== '/audio/transcriptions' && path !== '/audio/translations') return null
  const text = path === '/audio/transcriptions' ? 'Bonjour.' : 'Hello.'
  const format = String(body.response_format ?? 'json')
  if (['text', 'srt', 'vtt'].includes(format)) {
    return { contentType: 'text/plain; charset=utf-8', body: Buffer.from(`${text}\n`) }
  }
  const verbose = format === 'verbose_json' ? { duration: 9, language: 'french' } : {}
  const usage = String(body.model).startsWith('whisper')
    ? { type: 'duration', seconds: 9 }
    : {
        type: 'tokens',
        input_tokens: 100,
        output_tokens: 4,
        total_tokens: 104,
        input_token_details: { audio_tokens: 90, text_tokens: 10 },
      }
  const json = JSON.stringify({ text, ...verbose, usage })
  return { contentType: 'application/json', body: Buffer.from(json) }
}

/** Every byte there is, so that whoever takes it for text breaks it. */
export function speechOf(input: string): Buffer {
  return Buffer.from(Array.from({ length: input.length * 1_000 }, (_, at) => (at * 7) % 256))
}

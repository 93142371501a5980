// Speech and transcriptions as OpenAI has them: audio out in the upstream's bytes and type, a file in as
// multipart, and what an upstream says of the tokens or the seconds that it listened to.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { RoutedOperation } from '@penstock/shared/contracts/request'
import { noUsage, type TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'
import type { HttpRequest } from './http.ts'
import { addressOf, bodyFor, type OpenAiDialect } from './openai-request.ts'
import { usageOf } from './openai-usage.ts'
import type { ProviderCall, ProviderResult } from './provider.ts'

/** What may go out in a client's response as it is: nothing that a browser would run. */
const audioTypes = /^(?:audio\/|application\/(?:octet-stream|ogg)\b)/i
const textTypes = /^(?:text\/(?!html)|application\/x-subrip\b)/i
const jsonTypes = /^application\/(?:[\w.-]+\+)?json\b/i
const printable = /^[\x20-\x7e]{1,200}$/

/** @throws PenstockError as `buildRequest` */
export async function uploadRequest(
  call: ProviderCall<RoutedOperation>,
  dialect: OpenAiDialect,
): Promise<HttpRequest> {
  const { headers, ...address } = addressOf(call, dialect)
  const form = new FormData()
  for (const [name, value] of Object.entries(bodyFor(call, dialect))) {
    const isList = Array.isArray(value)
    const called = dialect.plainLists ? name.replace(/\[\]$/, '') : name
    for (const one of isList ? value : [value]) {
      if (one !== null && one !== undefined) form.append(called, fieldText(one))
    }
  }
  const { file } = call
  if (file !== undefined) {
    const blob = new Blob([new Uint8Array(file.bytes)], { type: file.contentType })
    // Upstreams tell the format by the name's ending.
    form.append('file', blob, file.filename || 'audio')
  }
  const encoded = new Response(form)
  return {
    ...address,
    headers: { ...headers, 'content-type': encoded.headers.get('content-type') ?? '' },
    body: new Uint8Array(await encoded.arrayBuffer()),
  }
}

function fieldText(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** @throws PenstockError `upstream_invalid_response` */
export function readSpeech(body: Uint8Array, type: string): ProviderResult {
  if (!audioTypes.test(type) || !printable.test(type) || body.length === 0) {
    throw invalid("The upstream's answer is not audio.")
  }
  // Nobody reports the tokens beside the audio.
  return { body, contentType: type, usage: null }
}

/** @throws PenstockError `upstream_invalid_response` */
export function readTranscript(body: Uint8Array, type: string): ProviderResult {
  if (textTypes.test(type) && printable.test(type)) return { body, contentType: type, usage: null }
  if (!jsonTypes.test(type)) throw invalid("The upstream's answer is neither JSON nor text.")
  let json: unknown = null
  try {
    json = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString())
  } catch {
    // No transcript either.
  }
  // vLLM answers plain text as JSON too.
  if (typeof json === 'string') return { body, usage: null }
  const reply = transcript.safeParse(json)
  if (!reply.success) throw invalid("The upstream's answer is not JSON with a text.")
  return { body, usage: usageOfTranscript(reply.data) }
}

function invalid(message: string): PenstockError {
  return new PenstockError('upstream_invalid_response', message)
}

const transcript = z.looseObject({ text: z.string() })
const count = z.int().min(0)
/** A day is more than 25 MB hold. Whisper's servers write it as text now and then. */
const seconds = z.coerce.number().min(0).max(86_400)

/** OpenAI's `Transcription.Tokens`. */
const tokenUsage = z.object({
  usage: z.object({
    input_tokens: count,
    output_tokens: count,
    input_token_details: z.object({ audio_tokens: count.nullish() }).nullish(),
  }),
})
/** Mistral's. */
const mistralUsage = z.object({ usage: z.object({ prompt_audio_seconds: seconds }) })
/** OpenAI's `Transcription.Duration`, vLLM's too; and what `verbose_json` says itself. */
const secondsUsage = z.object({ usage: z.object({ seconds }) })
const verbose = z.object({ duration: seconds })

/** Null where the upstream reported none. */
function usageOfTranscript(reply: unknown): TokenUsage | null {
  const audioMs = audioMsOf(reply)
  const heard = audioMs === null ? {} : { audioMs }
  const tokens = tokenUsage.safeParse(reply)
  if (tokens.success) {
    const { input_tokens, output_tokens, input_token_details: details } = tokens.data.usage
    return {
      ...noUsage,
      ...heard,
      promptTokens: input_tokens,
      completionTokens: output_tokens,
      audioPromptTokens: details?.audio_tokens ?? 0,
    }
  }
  const usual = usageOf(reply)
  if (usual !== null) return { ...usual, ...heard }
  return audioMs === null ? null : { ...noUsage, audioMs }
}

function audioMsOf(reply: unknown): number | null {
  const mistral = mistralUsage.safeParse(reply)
  if (mistral.success) return toMs(mistral.data.usage.prompt_audio_seconds)
  const reported = secondsUsage.safeParse(reply)
  if (reported.success) return toMs(reported.data.usage.seconds)
  const whole = verbose.safeParse(reply)
  return whole.success ? toMs(whole.data.duration) : null
}

const toMs = (value: number): number => Math.round(value * 1_000)

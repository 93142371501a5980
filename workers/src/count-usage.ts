// What an attempt took, counted by us, for an upstream that reported none or was cut off.
import { type DialectName, isUpload, type Operation } from '@penstock/shared/contracts/request'
import { noUsage, type TokenUsage } from '@penstock/shared/contracts/usage'
import { dialectOf } from '@penstock/shared/dialects/table'
import { serviceTierOf, textOfEvents } from '@penstock/shared/sse-text'
import { countSpeechTokens, countTranscript } from './count-audio.ts'
import { countCompletionTokens, countPromptTokens } from './count-tokens.ts'

export interface Seen {
  operation: Operation
  /** The request, and the dialect of it and its answer where they are not canonical. */
  asked: Record<string, unknown>
  native: DialectName | null
  /** A whole answer, and whether it is something else than JSON. */
  body: Uint8Array | null
  isPlain: boolean
  /** What was kept of a stream, and how many bytes there were for one that was kept. */
  kept: readonly Uint8Array[]
  share: number
}

export async function countUsage(seen: Seen): Promise<TokenUsage> {
  const { operation, asked, native } = seen
  const dialect = native === null ? null : dialectOf(native)
  const fields = dialect === null ? asked : dialect.toCanonical(asked).body
  return {
    ...noUsage,
    promptTokens: await countPromptTokens(operation, fields),
    ...(await countAnswer(seen, fields)),
    estimated: true,
  }
}

async function countAnswer(
  { operation, native, body, isPlain, kept, share }: Seen,
  fields: Record<string, unknown>,
): Promise<Partial<TokenUsage>> {
  if (body !== null) {
    if (operation === 'speech') return { completionTokens: countSpeechTokens(fields) }
    if (isUpload(operation)) return countTranscript(body, isPlain)
  }
  // The answers of the others are not made of tokens.
  if (operation !== 'chat' && operation !== 'completion') return {}
  const bytes = body === null ? kept : [body]
  const text = textOfEvents(bytes, native ?? undefined)
  const tier = native === null ? serviceTierOf(bytes) : null
  return {
    completionTokens: Math.round((await countCompletionTokens(text)) * share),
    ...(tier === null ? {} : { rate: tier }),
  }
}

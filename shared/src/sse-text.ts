// The text that canonical bytes carry, be they SSE events or one plain reply: what a token count is
// made from where an upstream reports none or a stream was cut. Not on the path of a token.
import type { DialectName } from './contracts/request.ts'
import { type ServiceTier, serviceTier, type TokenUsage } from './contracts/usage.ts'
import { dialectOf } from './dialects/table.ts'

interface Fragment {
  content?: unknown
  reasoning_content?: unknown
  reasoning?: unknown
  text?: unknown
  tool_calls?: { function?: { name?: unknown; arguments?: unknown } }[]
}
interface Choice extends Fragment {
  delta?: Fragment
  message?: Fragment
}

/**
 * Deltas that carry text: about the tokens that were streamed.
 * @param native the dialect of bytes that are an upstream's own
 */
export function countDeltas(chunks: readonly Uint8Array[], native?: DialectName): number {
  if (native !== undefined) return nativeTexts(chunks, native).length
  let count = 0
  for (const payload of payloadsOf(chunks)) {
    const texts = choicesOf(payload).map((choice) => textOf(choice) + textOf(choice.delta))
    if (texts.join('') !== '') count++
  }
  return count
}

/** Events that do not parse (the last one may be cut off) count for nothing. */
export function textOfEvents(chunks: readonly Uint8Array[], native?: DialectName): string {
  if (native !== undefined) return nativeTexts(chunks, native).join('')
  let text = ''
  for (const payload of payloadsOf(chunks)) {
    for (const choice of choicesOf(payload)) {
      text += textOf(choice) + textOf(choice.delta) + textOf(choice.message)
    }
  }
  return text
}

/**
 * The last chunk of a stream whose client asked for usage, where the upstream sent none.
 * (OpenAI: `choices` is empty, `usage` stands beside it.) Its identity is that of the first chunk.
 */
export function usageEvent(chunks: readonly Uint8Array[], usage: TokenUsage): Uint8Array {
  const { id, object, created, model } = identityOf(payloadsOf(chunks)[0] ?? '{}')
  const { promptTokens, completionTokens } = usage
  const counts = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
  const chunk = { id, object, created, model, choices: [], usage: counts }
  return Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`)
}

/** Of canonical bytes: each chunk says in which tier the request is served, the first one as the last. */
export function serviceTierOf(chunks: readonly Uint8Array[]): ServiceTier | null {
  const { service_tier: tier } = identityOf(payloadsOf(chunks.slice(0, 1))[0] ?? '{}')
  return serviceTier.safeParse(tier).data ?? null
}

function nativeTexts(chunks: readonly Uint8Array[], native: DialectName): string[] {
  const texts = dialectOf(native)?.nativeTexts?.(chunks) ?? []
  return texts.filter((text) => text !== '')
}

function identityOf(payload: string): Record<string, unknown> {
  try {
    return JSON.parse(payload)
  } catch {
    return {}
  }
}

function payloadsOf(chunks: readonly Uint8Array[]): string[] {
  const all = Buffer.concat(chunks).toString('utf8')
  if (all.startsWith('{')) return [all]
  const data = all.split('\n').filter((line) => line.startsWith('data:'))
  return data.map((line) => line.slice(5).trim())
}

function choicesOf(payload: string): Choice[] {
  try {
    const parsed: { choices?: unknown } = JSON.parse(payload)
    return Array.isArray(parsed.choices) ? parsed.choices : []
  } catch {
    return []
  }
}

function textOf(fragment: Fragment | undefined): string {
  if (fragment === undefined || fragment === null) return ''
  const { content, reasoning_content, reasoning, text, tool_calls } = fragment
  const calls = (tool_calls ?? []).flatMap((call) => [
    call.function?.name,
    call.function?.arguments,
  ])
  return [content, reasoning_content ?? reasoning, text, ...calls]
    .filter((piece) => typeof piece === 'string')
    .join('')
}

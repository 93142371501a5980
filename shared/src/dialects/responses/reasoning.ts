// What a provider wants back of a model's thoughts, word by word (Anthropic's signed blocks), rides in
// the reasoning item's `encrypted_content`, which clients return unread.
import { z } from 'zod'

const prefix = 'penstock:'
const blocks = z.array(z.looseObject({ type: z.string() })).max(1_000)

export function sealThinking(thinking: readonly unknown[]): string {
  return prefix + Buffer.from(JSON.stringify(thinking)).toString('base64')
}

/** Empty where there is none, or where another server sealed it. */
export function thinkingBlocksOf(sealed: string | null): unknown[] {
  if (sealed === null || !sealed.startsWith(prefix)) return []
  try {
    const json = Buffer.from(sealed.slice(prefix.length), 'base64').toString('utf8')
    return blocks.parse(JSON.parse(json))
  } catch {
    return []
  }
}

// The items of a response as its events told of them: what a gateway starts from that takes the response
// over from another one.
import { z } from 'zod'
import type { GrowingItem } from './output.ts'
import { thinkingBlocksOf } from './reasoning.ts'
import type { NumberedEvent } from './writer.ts'

const index = z.int().min(0)
const item = z.object({
  type: z.enum(['message', 'reasoning', 'function_call']),
  id: z.string(),
  status: z.enum(['in_progress', 'completed', 'incomplete']),
  call_id: z.string().default(''),
  name: z.string().default(''),
  encrypted_content: z.string().nullish(),
})
const added = z.object({ output_index: index, item })
const part = z.object({ output_index: index, part: z.object({ type: z.string() }) })
const grown = z.object({
  output_index: index,
  delta: z.string(),
  logprobs: z.array(z.unknown()).default([]),
})

/** @throws ZodError for what ResponseWriter did not write */
export function restoreItems(events: readonly NumberedEvent[]): GrowingItem[] {
  const items: GrowingItem[] = []
  for (const event of events) {
    if (event.type === 'response.output_item.added') {
      const { output_index: at, item: began } = added.parse(event)
      const { type: kind, id, call_id: callId, name } = began
      items[at] = { kind, id, callId, name, ...beginning() }
    } else if (event.type === 'response.content_part.added') {
      const { output_index: at, part: content } = part.parse(event)
      const target = items[at]
      if (target !== undefined && content.type === 'refusal') target.kind = 'refusal'
    } else if (event.type.endsWith('.delta')) {
      const { output_index: at, delta, logprobs } = grown.parse(event)
      const target = items[at]
      if (target !== undefined) target.text += delta
      target?.logprobs.push(...logprobs)
    } else if (event.type === 'response.output_item.done') {
      const { output_index: at, item: ended } = added.parse(event)
      const target = items[at]
      if (target === undefined) continue
      target.status = ended.status
      target.thinking = thinkingBlocksOf(ended.encrypted_content ?? null)
      // Before a response has ended, what another attempt did not take up is closed so, all of it.
      if (ended.status !== 'incomplete') continue
      for (const left of items.slice(0, at + 1)) left.abandoned = true
    }
  }
  return items
}

function beginning(): Pick<GrowingItem, 'text' | 'logprobs' | 'thinking' | 'status' | 'abandoned'> {
  return { text: '', logprobs: [], thinking: [], status: 'in_progress', abandoned: false }
}

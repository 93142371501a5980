// What a canonical answer grew by: of a chunk of a stream, or of a whole reply. Calls without an id
// get one, since their outputs are told apart by it.
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { ChatChunk, ChatDelta } from '../chat-events.ts'
import type { Growth } from './output.ts'

export interface Grown {
  growths: Growth[]
  finish: string | null
  model: string | null
}

const logprobs = z.object({ content: z.array(z.unknown()).catch([]) }).catch({ content: [] })

/** There is one choice: this API has no `n`. A deployment's default may ask for more all the same. */
export function grownBy({ choices, model }: ChatChunk): Grown {
  const choice = choices.find(({ index }) => index === 0)
  const growths: Growth[] = []
  const text = choice?.delta?.content
  if (choice?.delta) growths.push(...growthsOf(choice.delta))
  if (choice?.logprobs && text) {
    const { content } = logprobs.parse(choice.logprobs)
    const said = growths.find(({ kind }) => kind === 'message')
    if (said?.kind === 'message' && content.length > 0) said.logprobs = content
  }
  return { growths, finish: choice?.finish_reason ?? null, model: model ?? null }
}

function growthsOf(delta: ChatDelta): Growth[] {
  const growths: Growth[] = []
  const thought = delta.reasoning_content || delta.reasoning
  if (thought) growths.push({ kind: 'reasoning', text: thought })
  for (const block of delta.thinking_blocks ?? []) growths.push({ kind: 'thinking', block })
  if (delta.content) growths.push({ kind: 'message', text: delta.content })
  if (delta.refusal) growths.push({ kind: 'refusal', text: delta.refusal })
  for (const call of delta.tool_calls ?? []) {
    growths.push({
      kind: 'function_call',
      call: call.index,
      id: call.id || `call_${randomUUID().replaceAll('-', '')}`,
      name: call.function?.name ?? '',
      text: call.function?.arguments ?? '',
    })
  }
  return growths
}

// A whole canonical answer, of a chat or of a completion, as Ollama's one object.
import { z } from 'zod'
import type { FrameEnd } from '../../bus/frame-codec.ts'
import type { Fields } from '../dialect.ts'
import { ollamaLogprobs } from './lines.ts'
import { doneReason, head, metrics, ollamaCalls, type Said } from './replies.ts'

const text = z.string().nullish().catch(null)
const toolCall = z.object({
  id: text,
  function: z.object({ name: text, arguments: text }).nullish().catch(null),
})
/** Loose, each field on its own: what an upstream adds must not end an answer. */
const choice = z.object({
  text,
  reasoning_content: text,
  message: z
    .object({
      content: text,
      reasoning_content: text,
      reasoning: text,
      tool_calls: z.array(toolCall).nullish().catch(null),
    })
    .nullish()
    .catch(null),
  logprobs: z.unknown().optional(),
  finish_reason: text,
})
const answer = z.object({ choices: z.array(choice).catch([]) })

/** @param fieldsOf what it says, in this endpoint's form */
export function ollamaAnswer(
  canonical: Fields,
  model: string,
  end: FrameEnd | undefined,
  fieldsOf: (said: Said) => Fields,
): Fields {
  const [first] = answer.parse(canonical).choices
  const message = first?.message
  const calls = (message?.tool_calls ?? []).map(({ id, function: called }) => ({
    id: id ?? '',
    name: called?.name ?? '',
    json: called?.arguments ?? '',
  }))
  const said: Said = {
    content: message?.content ?? first?.text ?? '',
    thinking: message?.reasoning_content ?? message?.reasoning ?? first?.reasoning_content ?? '',
    calls: ollamaCalls(calls),
  }
  const probabilities = ollamaLogprobs(first?.logprobs)
  return {
    ...head(model, end?.endedAt ?? Date.now()),
    ...fieldsOf(said),
    done: true,
    done_reason: doneReason(first?.finish_reason),
    ...(probabilities === null ? {} : { logprobs: probabilities }),
    ...metrics(end, null),
  }
}

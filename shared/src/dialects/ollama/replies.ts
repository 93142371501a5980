// What Ollama's replies are made of (api/types.go, ChatResponse and GenerateResponse): its words for an
// end, tool calls with their arguments as objects, and counts and durations, in nanoseconds.
import type { FrameEnd } from '../../bus/frame-codec.ts'
import type { Fields } from '../dialect.ts'

const nanosecondsPerMs = 1_000_000

/** A tool call whose pieces are put together. */
export interface WholeCall {
  id: string
  name: string
  json: string
}

/** What a reply or a line of a stream says: the endpoint decides under which names. */
export interface Said {
  content: string
  thinking: string
  calls: Fields[]
}

/** What a chat says. */
export function chatFields({ content, thinking, calls }: Said): Fields {
  return {
    message: {
      role: 'assistant',
      content,
      ...(thinking === '' ? {} : { thinking }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    },
  }
}

/** What a generation says. */
export function generateFields({ content, thinking }: Said): Fields {
  return { response: content, ...(thinking === '' ? {} : { thinking }) }
}

/** How every reply and every line of a stream begins. */
export function head(model: string, now: number): Fields {
  return { model, created_at: new Date(now).toISOString() }
}

/**
 * Go leaves a zero out (`omitempty`); so is left out what is not known, as the time to load the model.
 * @param promptMs from the call to the first token; null where only the whole is known
 */
export function metrics(end: FrameEnd | undefined, promptMs: number | null): Fields {
  if (end === undefined) return {}
  const { usage, startedAt, endedAt } = end
  const totalMs = Math.max(0, endedAt - startedAt)
  const readMs = Math.min(totalMs, Math.max(0, promptMs ?? 0))
  const counted = {
    total_duration: totalMs * nanosecondsPerMs,
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: readMs * nanosecondsPerMs,
    eval_count: usage.completionTokens,
    eval_duration: (totalMs - readMs) * nanosecondsPerMs,
  }
  return Object.fromEntries(Object.entries(counted).filter(([, value]) => value > 0))
}

/** Ollama ends with `stop` or `length`, a tool call with `stop`. */
export function doneReason(finish: string | null | undefined): string {
  return finish === 'length' ? 'length' : 'stop'
}

export function ollamaCalls(given: readonly WholeCall[]): Fields[] {
  return given.map(({ id, name, json }, index) => ({
    ...(id === '' ? {} : { id }),
    function: { index, name, arguments: argumentsObject(json) },
  }))
}

/** Arguments that are no JSON object, which only a faulty model writes, are kept as a text. */
function argumentsObject(json: string): Fields {
  if (json.trim() === '') return {}
  try {
    const parsed: unknown = JSON.parse(json)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return { ...parsed }
  } catch {
    // Not JSON either.
  }
  return { arguments: json }
}

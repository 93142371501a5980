// Ollama's way to load a model before it is asked anything: a chat without messages, a generation
// without a prompt; with `keep_alive: 0` to unload it (docs/api.md). `ollama run` begins with one.
import type { Fields } from '../dialect.ts'
import { head } from './replies.ts'
import { modelOf } from './request-fields.ts'

/**
 * The reply to such a request; null: it is none. Nothing is loaded: which host will serve the next
 * request is decided when it comes.
 */
export function loadReply(
  dialect: 'ollama-chat' | 'ollama-generate',
  request: Fields,
): Fields | null {
  const asks = dialect === 'ollama-chat' ? ['messages'] : ['prompt', 'images']
  if (asks.some((name) => !isEmpty(request[name]))) return null
  const said =
    dialect === 'ollama-chat' ? { message: { role: 'assistant', content: '' } } : { response: '' }
  const done_reason = request.keep_alive === 0 ? 'unload' : 'load'
  return { ...head(modelOf(request), Date.now()), ...said, done: true, done_reason }
}

/** What is of a wrong type is left for the schema to refuse. */
function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    (Array.isArray(value) && value.length === 0)
  )
}

// What the answers of all of Ollama's endpoints share: the type of a stream, errors (docs/api/errors.mdx)
// and the line that says that a request still waits.
import type { ErrorInfo } from '../../contracts/errors.ts'
import type { Fields } from '../dialect.ts'
import { head, type Said } from './replies.ts'

export const streamType = 'application/x-ndjson'

export function errorBody({ message }: ErrorInfo): Fields {
  return { error: message }
}

/**
 * A line that adds nothing to the answer: an empty line would end Ollama's own client, which reads each
 * one as JSON (api/client.go, stream).
 */
export function queuedLine(position: number, fieldsOf: (said: Said) => Fields): string {
  const said = fieldsOf({ content: '', thinking: '', calls: [] })
  const line = { ...head('', Date.now()), ...said, done: false, queue_position: position }
  return `${JSON.stringify(line)}\n`
}

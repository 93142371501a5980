// A canonical stream as Ollama's: one JSON object per line, `done: true` on the last one, which holds
// the counts (docs/api.md). A failure on the way is a line `{"error": …}`.
import type { FrameEnd } from '../../bus/frame-codec.ts'
import { type ErrorInfo, PenstockError } from '../../contracts/errors.ts'
import { type ChatChunk, type ChatDelta, createChatEventReader } from '../chat-events.ts'
import type { DialectStream, Fields } from '../dialect.ts'
import { doneReason, head, metrics, ollamaCalls, type Said, type WholeCall } from './replies.ts'

/** A tool call's arguments come in pieces and go out whole; longer than this they are no arguments. */
const maxArguments = 8 * 1024 * 1024
const maxCalls = 1_000
const nothing: Said = { content: '', thinking: '', calls: [] }

type CallPiece = NonNullable<ChatDelta['tool_calls']>[number]

/** @param fieldsOf what a line says, in this endpoint's form */
export function createLines(
  model: string,
  fieldsOf: (said: Said) => Fields,
  now: () => number = Date.now,
): DialectStream {
  const reader = createChatEventReader()
  let calls = new Map<number, WholeCall>()
  let argumentsLength = 0
  let finish: string | null = null
  let firstAt: number | null = null

  const line = (said: Said, more: Fields) =>
    `${JSON.stringify({ ...head(model, now()), ...fieldsOf(said), ...more })}\n`

  function takeCalls(): string {
    if (calls.size === 0) return ''
    const whole = [...calls.entries()].sort(([a], [b]) => a - b).map(([, call]) => call)
    calls = new Map()
    return line({ ...nothing, calls: ollamaCalls(whole) }, { done: false })
  }

  function addCall({ index, id, function: called }: CallPiece): void {
    const known = calls.get(index) ?? { id: '', name: '', json: '' }
    const piece = called?.arguments ?? ''
    argumentsLength += piece.length
    calls.set(index, {
      id: known.id || id || '',
      name: known.name || called?.name || '',
      json: known.json + piece,
    })
    if (argumentsLength <= maxArguments && calls.size <= maxCalls) return
    const message = 'The model asked for larger tool calls than can be passed on.'
    throw new PenstockError('upstream_invalid_response', message)
  }

  function linesOf({ delta, text, logprobs, finish_reason }: ChatChunk['choices'][number]): string {
    for (const piece of delta?.tool_calls ?? []) addCall(piece)
    const content = delta?.content ?? text ?? ''
    const thinking = delta?.reasoning_content ?? delta?.reasoning ?? ''
    const probabilities = ollamaLogprobs(logprobs)
    const says = content !== '' || thinking !== '' || probabilities !== null
    if (says) firstAt ??= now()
    const more = probabilities === null ? {} : { logprobs: probabilities }
    const said = says ? line({ content, thinking, calls: [] }, { done: false, ...more }) : ''
    if (!finish_reason) return said
    finish = finish_reason
    return said + takeCalls()
  }

  return {
    push(sse) {
      let lines = ''
      for (const { choices } of reader.push(sse)) {
        // Ollama answers once: further choices have no place.
        const choice = choices.find(({ index }) => index === 0)
        if (choice !== undefined) lines += linesOf(choice)
      }
      return lines === '' ? null : Buffer.from(lines)
    },
    end(end: FrameEnd) {
      const promptMs = firstAt === null ? null : firstAt - end.startedAt
      const last = { done: true, done_reason: doneReason(finish), ...metrics(end, promptMs) }
      return Buffer.from(takeCalls() + line(nothing, last))
    },
    error: (info: ErrorInfo) => Buffer.from(`${JSON.stringify({ error: info.message })}\n`),
  }
}

/** OpenAI's entries are Ollama's (api/types.go, Logprob). */
export function ollamaLogprobs(logprobs: unknown): unknown[] | null {
  if (typeof logprobs !== 'object' || logprobs === null || !('content' in logprobs)) return null
  const { content } = logprobs
  return Array.isArray(content) && content.length > 0 ? content : null
}

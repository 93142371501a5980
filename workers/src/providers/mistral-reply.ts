// Mistral's replies as OpenAI's. Most of their bytes pass as they are: thinking, which stands as chunks
// in the content, tool calls without a type or an index, and two finish reasons are rewritten.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { parseFrom, unexpectedFrom } from './unexpected-reply.ts'

type Fields = Record<string, unknown>
type Emit = (events: Uint8Array) => void

// A chat's events that must be read. Text that quotes one of these has its quotes escaped.
const differs =
  /"content"\s*:\s*\[|"tool_calls"\s*:\s*\[|"model_length"|"finish_reason"\s*:\s*"error"/

const fields = z.looseObject({})
const chunk = z.union([
  z.object({ type: z.literal('text'), text: z.string() }).transform(({ text }) => ({ text })),
  z
    .object({ type: z.literal('thinking'), thinking: z.array(fields) })
    .transform(({ thinking }) => ({
      thought: thinking.map(({ text }) => (typeof text === 'string' ? text : '')).join(''),
    })),
  // References to documents and the like have no place in OpenAI's content.
  fields.transform(() => ({})),
])
const calls = z.array(
  z.looseObject({
    index: z.int().nullish(),
    function: z.looseObject({ name: z.string().nullish(), arguments: z.unknown().optional() }),
  }),
)
const said = z.looseObject({
  content: z.union([z.string(), z.array(chunk)]).nullish(),
  tool_calls: calls.nullish(),
})
const choices = z.array(
  z.looseObject({
    message: said.nullish(),
    delta: said.nullish(),
    finish_reason: z.string().nullish(),
  }),
)
const reply = z.looseObject({ choices })

/** Whether a whole reply or some events of a chat must be rewritten. */
export function isDifferent(bytes: Uint8Array): boolean {
  return differs.test(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
}

/** A whole chat reply, or a chunk, in OpenAI's form. @throws PenstockError as `finishOf` does */
export function chatFields(value: unknown, position = counter()): Fields {
  const parsed = parseFrom('Mistral', reply, value)
  return {
    ...parsed,
    choices: parsed.choices.map(({ message, delta, finish_reason: finish, ...rest }) => ({
      ...rest,
      ...(message ? { message: saidFields(message, position, false) } : {}),
      ...(delta ? { delta: saidFields(delta, position, true) } : {}),
      finish_reason: finishOf(finish),
    })),
  }
}

/** A whole reply of fill-in-the-middle, or a chunk, as OpenAI's text completion; it is a chat's there. */
export function completionFields(value: unknown): Fields {
  const parsed = parseFrom('Mistral', reply, value)
  return {
    ...parsed,
    object: 'text_completion',
    choices: parsed.choices.map(({ index, message, delta, finish_reason: finish }) => ({
      index,
      text: textOf(message ?? delta),
      logprobs: null,
      finish_reason: finishOf(finish),
    })),
  }
}

/** Passes a chat's events on, those that differ in OpenAI's form. */
export function chatEvents(emit: Emit): Emit {
  const position = counter()
  const rewrite = rewriting(emit, (event) => chatFields(event, position))
  return (events) => (isDifferent(events) ? rewrite(events) : emit(events))
}

/** Passes the events of fill-in-the-middle on as those of a text completion. */
export function completionEvents(emit: Emit): Emit {
  return rewriting(emit, completionFields)
}

/** What came before a failure in the same read still belongs to the client. */
function rewriting(emit: Emit, rewrite: (event: unknown) => Fields): Emit {
  return (events) => {
    let rewritten = ''
    try {
      for (const event of Buffer.from(events).toString().split('\n\n')) {
        if (event === '') continue
        const value: unknown = JSON.parse(event.slice('data: '.length))
        rewritten += `data: ${JSON.stringify(rewrite(value))}\n\n`
      }
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause
      throw unexpectedFrom('Mistral', 'an event that is not JSON', cause)
    } finally {
      if (rewritten !== '') emit(Buffer.from(rewritten))
    }
  }
}

function saidFields(
  { content, tool_calls: called, ...rest }: z.infer<typeof said>,
  position: (given: number | null | undefined, isNew: boolean) => number,
  isDelta: boolean,
): Fields {
  const { text, thought } = contentOf(content)
  return {
    ...rest,
    ...(content === undefined || (isDelta && text === null) ? {} : { content: text }),
    ...(thought === '' ? {} : { reasoning_content: thought }),
    ...(called ? { tool_calls: called.map((call) => callFields(call, position, isDelta)) } : {}),
  }
}

/** `arguments` may be an object there; the first piece of a call has its id. */
function callFields(
  { index, function: called, ...rest }: z.infer<typeof calls>[number],
  position: (given: number | null | undefined, isNew: boolean) => number,
  isDelta: boolean,
): Fields {
  const { name, arguments: given, ...more } = called
  const text = typeof given === 'string' || given === undefined ? given : JSON.stringify(given)
  return {
    ...(isDelta ? { index: position(index, rest.id !== undefined) } : {}),
    type: 'function',
    ...rest,
    function: {
      ...more,
      ...(name ? { name } : {}),
      ...(text === undefined ? {} : { arguments: text }),
    },
  }
}

/** Counts the calls of a stream whose upstream gives them no index. */
function counter() {
  let last = -1
  return (given: number | null | undefined, isNew: boolean): number => {
    if (typeof given === 'number') last = given
    else if (isNew || last < 0) last += 1
    return last
  }
}

function contentOf(content: z.infer<typeof said>['content']): {
  text: string | null
  thought: string
} {
  if (typeof content === 'string') return { text: content, thought: '' }
  if (!content) return { text: null, thought: '' }
  const texts = content.flatMap((part) => ('text' in part ? [part.text] : []))
  const thoughts = content.flatMap((part) => ('thought' in part ? [part.thought] : []))
  return { text: texts.length === 0 ? null : texts.join(''), thought: thoughts.join('') }
}

function textOf(from: z.infer<typeof said> | null | undefined): string {
  return contentOf(from?.content).text ?? ''
}

/** @throws PenstockError `upstream_error` for `error`: the answer is not whole */
function finishOf(finish: string | null | undefined): string | null {
  if (finish === 'error') {
    throw new PenstockError('upstream_error', 'Mistral broke off its answer with an error.')
  }
  return finish === 'model_length' ? 'length' : (finish ?? null)
}

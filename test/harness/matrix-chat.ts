// OpenAI's chat completions as a client of the matrix writes and reads them.
import assert from 'node:assert/strict'
import { z } from 'zod'
import { streamed as readStream } from './answers.ts'
import {
  type Ask,
  answerSchema,
  argumentsText,
  type Call,
  type ClientForm,
  link,
  type Meaning,
  pdf,
  plainEvents,
  png,
  question,
  toolName,
  toolParameters,
  toolResults,
} from './matrix-meaning.ts'

const usage = z.object({ prompt_tokens: z.int(), completion_tokens: z.int() })
const reply = z.object({
  object: z.literal('chat.completion'),
  choices: z.tuple([
    z.object({
      message: z.object({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        tool_calls: z
          .array(
            z.object({
              id: z.string().min(1),
              type: z.literal('function'),
              function: z.object({ name: z.string(), arguments: argumentsText }),
            }),
          )
          .nullish(),
      }),
      finish_reason: z.string(),
    }),
  ]),
  usage,
})
const callPieces = z.array(
  z.object({
    index: z.int(),
    id: z.string().optional(),
    function: z.object({ name: z.string().optional(), arguments: z.string().optional() }),
  }),
)
const errorReply = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string().min(1),
    param: z.string().nullable(),
    code: z.string(),
  }),
})

export const chat: ClientForm = {
  name: 'chat',
  path: '/v1/chat/completions',
  finishes: { stop: 'stop', calls: 'tool_calls' },
  extras: ['link', 'document'],
  request({ model, stream, with: what, called = [] }: Ask) {
    const part = partOf(what)
    const content = part === null ? question : [{ type: 'text', text: question }, part]
    const declared = { name: toolName, description: 'The tide', parameters: toolParameters }
    const schema = { name: 'answer', strict: true, schema: answerSchema }
    return {
      model,
      max_tokens: 100,
      messages: [{ role: 'user', content }, ...answered(called)],
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
      ...(what === 'tools' ? { tools: [{ type: 'function', function: declared }] } : {}),
      ...(what === 'schema'
        ? { response_format: { type: 'json_schema', json_schema: schema } }
        : {}),
    }
  },
  whole(json) {
    const { choices, usage: counted } = reply.parse(json)
    const [{ message, finish_reason: finish }] = choices
    const calls = (message.tool_calls ?? []).map(({ id, function: call }) => ({ id, ...call }))
    return {
      text: message.content ?? '',
      calls,
      finish,
      usage: { prompt: counted.prompt_tokens, completion: counted.completion_tokens },
      error: null,
    }
  },
  streamed(text): Meaning {
    const { chunks, usages, finishReasons, error, text: said } = readStream(plainEvents(text))
    const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta))
    const pieces = deltas.flatMap((delta) => callPieces.parse(delta?.tool_calls ?? []))
    assert.ok(usages.length <= 1 && finishReasons.length <= 1, text)
    const [counted] = usages
    return {
      text: said,
      calls: callsOf(pieces),
      finish: finishReasons[0] ?? null,
      usage: counted
        ? { prompt: counted.prompt_tokens, completion: counted.completion_tokens }
        : null,
      error: error?.message ?? null,
    }
  },
  refusal: chatRefusal,
}

function partOf(what: Ask['with']): object | null {
  const data = `data:image/png;base64,${png}`
  switch (what) {
    case 'image':
    case 'link':
      return { type: 'image_url', image_url: { url: what === 'link' ? link : data } }
    case 'document': {
      const file = { filename: 'page.pdf', file_data: `data:application/pdf;base64,${pdf}` }
      return { type: 'file', file }
    }
    default:
      return null
  }
}

/** The Responses API has the same. */
export function chatRefusal(json: unknown, status: number): string {
  const { error } = errorReply.parse(json)
  assert.equal(error.code, String(status))
  return error.message
}

function answered(called: readonly Call[]): object[] {
  if (called.length === 0) return []
  const calls = called.map(({ id, name, arguments: given }) => {
    return { id, type: 'function', function: { name, arguments: JSON.stringify(given) } }
  })
  const results = called.map(({ id }, index) => {
    return { role: 'tool', tool_call_id: id, content: toolResults[index] }
  })
  return [{ role: 'assistant', content: null, tool_calls: calls }, ...results]
}

function callsOf(pieces: z.infer<typeof callPieces>): Call[] {
  const indexes = [...new Set(pieces.map(({ index }) => index))]
  return indexes.map((index) => {
    const own = pieces.filter((piece) => piece.index === index)
    const json = own.map((piece) => piece.function.arguments ?? '').join('')
    return {
      id: own.map(({ id }) => id ?? '').join(''),
      name: own.map((piece) => piece.function.name ?? '').join(''),
      arguments: JSON.parse(json),
    }
  })
}

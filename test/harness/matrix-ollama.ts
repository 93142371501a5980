// Ollama's /api/chat as a client of the matrix writes and reads it.
import assert from 'node:assert/strict'
import { z } from 'zod'
import {
  type Ask,
  answerSchema,
  type Call,
  type ClientForm,
  type Meaning,
  png,
  question,
  toolName,
  toolParameters,
  toolResults,
} from './matrix-meaning.ts'

const said = z.object({
  model: z.string(),
  created_at: z.iso.datetime(),
  message: z.object({
    role: z.literal('assistant'),
    content: z.string(),
    tool_calls: z
      .array(
        z.object({
          id: z.string().optional(),
          function: z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) }),
        }),
      )
      .optional(),
  }),
})
const partial = said.extend({ done: z.literal(false) })
const complete = said.extend({
  done: z.literal(true),
  done_reason: z.string(),
  prompt_eval_count: z.int(),
  eval_count: z.int(),
})
const line = z.discriminatedUnion('done', [partial, complete])
const error = z.strictObject({ error: z.string().min(1) })

export const ollamaChat: ClientForm = {
  name: 'ollama-chat',
  path: '/api/chat',
  finishes: { stop: 'stop', calls: 'stop' },
  extras: [],
  request({ model, stream, with: what, called = [] }: Ask) {
    const declared = { name: toolName, description: 'The tide', parameters: toolParameters }
    const asked = { role: 'user', content: question }
    return {
      model,
      stream,
      options: { num_predict: 100 },
      messages: [what === 'image' ? { ...asked, images: [png] } : asked, ...answered(called)],
      ...(what === 'tools' ? { tools: [{ type: 'function', function: declared }] } : {}),
      ...(what === 'schema' ? { format: answerSchema } : {}),
    }
  },
  whole(json) {
    const answer = complete.parse(json)
    return meaningOf([answer], answer, null)
  },
  streamed(text) {
    assert.ok(text.endsWith('\n'), `the stream ends inside a line: ${text.slice(-200)}`)
    const jsons = text
      .split('\n')
      .slice(0, -1)
      .map((one): unknown => JSON.parse(one))
    const failed = error.safeParse(jsons.at(-1)).data?.error ?? null
    const lines = (failed === null ? jsons : jsons.slice(0, -1)).map((one) => line.parse(one))
    const ends = lines.filter((one) => one.done)
    const [end = null] = ends
    assert.equal(ends.length, failed === null ? 1 : 0)
    assert.ok(end === null || end === lines.at(-1))
    return meaningOf(lines, end, failed)
  },
  refusal: (json) => error.parse(json).error,
}

function meaningOf(
  lines: readonly z.infer<typeof said>[],
  end: z.infer<typeof complete> | null,
  failed: string | null,
): Meaning {
  const calls = lines.flatMap(({ message }) => message.tool_calls ?? [])
  return {
    text: lines.map(({ message }) => message.content).join(''),
    calls: calls.map(({ id = '', function: call }) => ({ id, ...call })),
    finish: end?.done_reason ?? null,
    usage: end && { prompt: end.prompt_eval_count, completion: end.eval_count },
    error: failed,
  }
}

/** A result names its tool, and no call: their order says which is whose. */
function answered(called: readonly Call[]): object[] {
  if (called.length === 0) return []
  const calls = called.map(({ name, arguments: given }) => {
    return { function: { name, arguments: given } }
  })
  const results = called.map(({ name }, index) => {
    return { role: 'tool', tool_name: name, content: toolResults[index] }
  })
  return [{ role: 'assistant', content: '', tool_calls: calls }, ...results]
}

// OpenAI's Responses API as a client of the matrix writes and reads it.
import assert from 'node:assert/strict'
import { z } from 'zod'
import { chatRefusal } from './matrix-chat.ts'
import {
  type Ask,
  answerSchema,
  argumentsText,
  type Call,
  type ClientForm,
  link,
  type Meaning,
  namedEvents,
  pdf,
  png,
  question,
  toolName,
  toolParameters,
  toolResults,
} from './matrix-meaning.ts'

const item = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('message'),
    role: z.literal('assistant'),
    content: z.array(z.object({ type: z.literal('output_text'), text: z.string() })),
  }),
  z.object({
    type: z.literal('function_call'),
    call_id: z.string().min(1),
    name: z.string(),
    arguments: argumentsText,
  }),
])
const response = z.object({
  object: z.literal('response'),
  status: z.enum(['completed', 'incomplete', 'failed']),
  error: z.object({ code: z.string(), message: z.string().min(1) }).nullable(),
  output: z.array(item),
  usage: z.object({ input_tokens: z.int(), output_tokens: z.int() }).nullable(),
})
const event = z.looseObject({ type: z.string(), sequence_number: z.int() })
const textDelta = z.object({ delta: z.string() })
const lastEvent = z.object({ response })

export const responses: ClientForm = {
  name: 'responses',
  path: '/v1/responses',
  finishes: { stop: 'completed', calls: 'completed' },
  extras: ['link', 'document'],
  request({ model, stream, with: what, called = [] }: Ask) {
    const part = partOf(what)
    const content = part === null ? question : [{ type: 'input_text', text: question }, part]
    const declared = {
      type: 'function',
      name: toolName,
      description: 'The tide',
      parameters: toolParameters,
      strict: null,
    }
    const format = { type: 'json_schema', name: 'answer', strict: true, schema: answerSchema }
    return {
      model,
      max_output_tokens: 100,
      stream,
      store: false,
      input: [{ role: 'user', content }, ...answered(called)],
      ...(what === 'tools' ? { tools: [declared] } : {}),
      ...(what === 'schema' ? { text: { format } } : {}),
    }
  },
  whole: (json) => meaningOf(response.parse(json)),
  streamed(text) {
    const named = namedEvents(text)
    const events = named.map(({ data }) => event.parse(data))
    assert.deepEqual(
      events.map(({ type, sequence_number: number }) => [type, number]),
      named.map((one, index) => [one.event, index]),
    )
    const last = events.at(-1)
    assert.match(last?.type ?? '', /^response\.(?:completed|failed)$/)
    const meaning = meaningOf(lastEvent.parse(last).response)
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta')
    assert.equal(deltas.map((one) => textDelta.parse(one).delta).join(''), meaning.text)
    return meaning
  },
  refusal: chatRefusal,
}

function partOf(what: Ask['with']): object | null {
  const image = { type: 'input_image', detail: 'auto' }
  switch (what) {
    case 'image':
      return { ...image, image_url: `data:image/png;base64,${png}` }
    case 'link':
      return { ...image, image_url: link }
    case 'document': {
      const data = `data:application/pdf;base64,${pdf}`
      return { type: 'input_file', filename: 'page.pdf', file_data: data }
    }
    default:
      return null
  }
}

function meaningOf({ output, status, usage, error }: z.infer<typeof response>): Meaning {
  const calls = output.flatMap((one) =>
    one.type === 'function_call'
      ? [{ id: one.call_id, name: one.name, arguments: one.arguments }]
      : [],
  )
  const parts = output.flatMap((one) => (one.type === 'message' ? one.content : []))
  return {
    text: parts.map(({ text }) => text).join(''),
    calls,
    finish: status === 'failed' ? null : status,
    usage: usage && { prompt: usage.input_tokens, completion: usage.output_tokens },
    error: error?.message ?? null,
  }
}

function answered(called: readonly Call[]): object[] {
  const calls = called.map(({ id, name, arguments: given }) => {
    return { type: 'function_call', call_id: id, name, arguments: JSON.stringify(given) }
  })
  const results = called.map(({ id }, index) => {
    return { type: 'function_call_output', call_id: id, output: toolResults[index] }
  })
  return [...calls, ...results]
}

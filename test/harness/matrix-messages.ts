// Anthropic's Messages API as a client of the matrix writes and reads it.
import assert from 'node:assert/strict'
import { z } from 'zod'
import {
  type Ask,
  answerSchema,
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

const usage = z.object({ input_tokens: z.int(), output_tokens: z.int() })
const textBlock = z.object({ type: z.literal('text'), text: z.string() })
const callBlock = z.object({
  type: z.literal('tool_use'),
  id: z.string().min(1),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
})
const block = z.discriminatedUnion('type', [textBlock, callBlock])
const message = z.object({
  type: z.literal('message'),
  role: z.literal('assistant'),
  id: z.string().startsWith('msg_'),
  content: z.array(block),
  stop_reason: z.string().nullable(),
  usage,
})
const delta = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text_delta'), text: z.string() }),
  z.object({ type: z.literal('input_json_delta'), partial_json: z.string() }),
])
const error = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.string(), message: z.string().min(1) }),
})
const event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('message_start'), message }),
  z.object({ type: z.literal('ping') }),
  z.object({ type: z.literal('content_block_start'), index: z.int(), content_block: block }),
  z.object({ type: z.literal('content_block_delta'), index: z.int(), delta }),
  z.object({ type: z.literal('content_block_stop'), index: z.int() }),
  z.object({
    type: z.literal('message_delta'),
    delta: z.object({ stop_reason: z.string() }),
    usage: z.object({ input_tokens: z.int().optional(), output_tokens: z.int() }),
  }),
  z.object({ type: z.literal('message_stop') }),
  error,
])
const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  429: 'rate_limit_error',
  503: 'overloaded_error',
}

export const messages: ClientForm = {
  name: 'messages',
  path: '/v1/messages',
  finishes: { stop: 'end_turn', calls: 'tool_use' },
  attaches: ['image', 'link', 'document'],
  request({ model, stream, with: what, called = [] }: Ask) {
    const part = partOf(what)
    const content = part === null ? question : [{ type: 'text', text: question }, part]
    const declared = { name: toolName, description: 'The tide', input_schema: toolParameters }
    const format = { type: 'json_schema', schema: answerSchema }
    return {
      model,
      max_tokens: 100,
      stream,
      messages: [{ role: 'user', content }, ...answered(called)],
      ...(what === 'tools' ? { tools: [declared] } : {}),
      ...(what === 'schema' ? { output_config: { format } } : {}),
    }
  },
  whole(json) {
    const { content, stop_reason: finish, usage: counted } = message.parse(json)
    return {
      ...saidIn(content),
      finish,
      usage: { prompt: counted.input_tokens, completion: counted.output_tokens },
      error: null,
    }
  },
  streamed(text): Meaning {
    const named = namedEvents(text)
    const events = named.map(({ data }) => event.parse(data))
    assert.deepEqual(
      named.map((one) => one.event),
      events.map(({ type }) => type),
    )
    const last = events.at(-1)
    assert.ok(last?.type === 'message_stop' || last?.type === 'error', `ends with ${last?.type}`)
    const blocks: z.infer<typeof block>[] = []
    const jsons: string[] = []
    let prompt = 0
    let ended: { finish: string; completion: number } | null = null
    for (const one of events) {
      if (one.type === 'message_start') prompt = one.message.usage.input_tokens
      if (one.type === 'content_block_start') {
        assert.equal(one.index, blocks.length)
        blocks.push(one.content_block)
      }
      if (one.type === 'content_block_delta') {
        const open = blocks[one.index]
        if (one.delta.type === 'input_json_delta') {
          jsons[one.index] = (jsons[one.index] ?? '') + one.delta.partial_json
        } else if (open?.type === 'text') open.text += one.delta.text
        else assert.fail(`a text in a block of type ${open?.type}`)
      }
      if (one.type === 'message_delta') {
        prompt = one.usage.input_tokens ?? prompt
        ended = { finish: one.delta.stop_reason, completion: one.usage.output_tokens }
      }
    }
    for (const [index, json] of jsons.entries()) {
      const open = blocks[index]
      if (open?.type === 'tool_use') open.input = JSON.parse(json)
    }
    return {
      ...saidIn(blocks),
      finish: ended?.finish ?? null,
      usage: ended && { prompt, completion: ended.completion },
      error: last.type === 'error' ? last.error.message : null,
    }
  },
  refusal(json, status) {
    const { error: said } = error.parse(json)
    assert.equal(said.type, errorTypes[status])
    return said.message
  },
}

function partOf(what: Ask['with']): object | null {
  const base64 = (mediaType: string, data: string) => {
    return { type: 'base64', media_type: mediaType, data }
  }
  switch (what) {
    case 'image':
      return { type: 'image', source: base64('image/png', png) }
    case 'link':
      return { type: 'image', source: { type: 'url', url: link } }
    case 'document':
      return { type: 'document', source: base64('application/pdf', pdf) }
    default:
      return null
  }
}

function saidIn(blocks: readonly z.infer<typeof block>[]): { text: string; calls: Call[] } {
  const texts = blocks.map((one) => (one.type === 'text' ? one.text : ''))
  const calls = blocks.flatMap((one) =>
    one.type === 'tool_use' ? [{ id: one.id, name: one.name, arguments: one.input }] : [],
  )
  return { text: texts.join(''), calls }
}

function answered(called: readonly Call[]): object[] {
  if (called.length === 0) return []
  const calls = called.map(({ id, name, arguments: input }) => {
    return { type: 'tool_use', id, name, input }
  })
  const results = called.map(({ id }, index) => {
    return { type: 'tool_result', tool_use_id: id, content: toolResults[index] }
  })
  return [
    { role: 'assistant', content: calls },
    { role: 'user', content: results },
  ]
}

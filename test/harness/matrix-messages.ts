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
  serverTool,
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
  extras: ['link', 'document', 'server tool'],
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
      ...(what === 'server tool' ? { tools: [{ type: serverTool, name: 'web_search' }] } : {}),
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
    const start = events.find((one) => one.type === 'message_start')
    const ended = events.find((one) => one.type === 'message_delta')
    const prompt = ended?.usage.input_tokens ?? start?.message.usage.input_tokens ?? 0
    return {
      ...saidIn(blocksOf(events)),
      finish: ended?.delta.stop_reason ?? null,
      usage: ended === undefined ? null : { prompt, completion: ended.usage.output_tokens },
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

/** Put together; fails where a piece belongs to no block, or to one of another kind. */
function blocksOf(events: readonly z.infer<typeof event>[]): z.infer<typeof block>[] {
  const blocks: z.infer<typeof block>[] = []
  let json = ''
  for (const one of events) {
    if (one.type === 'content_block_start') {
      assert.equal(one.index, blocks.length)
      blocks.push(one.content_block)
      json = ''
    } else if (one.type === 'content_block_delta') {
      assert.equal(one.index, blocks.length - 1)
      const open = blocks[one.index]
      if (one.delta.type === 'input_json_delta') json += one.delta.partial_json
      else if (open?.type === 'text') open.text += one.delta.text
      else assert.fail(`a text in a block of type ${open?.type}`)
    } else if (one.type === 'content_block_stop') {
      const open = blocks[one.index]
      if (open?.type === 'tool_use') open.input = JSON.parse(json)
    }
  }
  return blocks
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

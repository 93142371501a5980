import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chatCall } from './ollama-chat.ts'
import { translateStream } from './ollama-stream.ts'
import {
  failsWith,
  fixture,
  inPieces,
  jsonFixture,
  parseEvents,
  testCall,
} from './provider-test-kit.ts'

const messages = [{ role: 'user', content: 'When is high tide?' }]
const tideTool = {
  type: 'function',
  function: {
    name: 'get_tide',
    parameters: { type: 'object', properties: { port: { type: 'string' } }, required: ['port'] },
  },
}

function request(body: Record<string, unknown>) {
  return chatCall(testCall({ messages, ...body })).request
}

function reply(name: string) {
  const { body, usage } = chatCall(testCall({ messages })).reply(jsonFixture(name))
  return { body: body as Record<string, unknown>, usage }
}

async function chunks(name: string, includeUsage: boolean, size = 100_000) {
  const start = chatCall(testCall({ messages }, { stream: true, includeUsage })).stream
  assert.ok(start !== null)
  const emitted: Uint8Array[] = []
  await translateStream(inPieces(fixture(name), size), 'llama3.2', start(), (events) =>
    emitted.push(events),
  )
  return parseEvents(Buffer.concat(emitted))
}

/** The first choice of each chunk. */
function choicesOf(events: Record<string, unknown>[]) {
  return events.flatMap((event) => (event.choices as Record<string, unknown>[]).slice(0, 1))
}

test('a plain request holds the model, the messages and whether to stream', () => {
  assert.deepEqual(request({ model: 'local' }), { model: 'llama3.2', messages, stream: false })
})

test('tools are offered as they are, and not at all with tool_choice none', () => {
  assert.deepEqual(request({ tools: [tideTool], tool_choice: 'auto' }).tools, [tideTool])
  assert.equal(request({ tools: [tideTool], tool_choice: 'none' }).tools, undefined)
  assert.equal(request({ tools: [] }).tools, undefined)
})

test('a tool choice that Ollama cannot force is refused, or left out with drop_params', () => {
  const named = { type: 'function', function: { name: 'get_tide' } }
  for (const choice of ['required', named]) {
    const body = { messages, tools: [tideTool], tool_choice: choice }
    assert.throws(() => chatCall(testCall(body)), failsWith('unsupported_parameter', 'tool_choice'))
    const dropped = chatCall(testCall(body, { deployment: { dropParams: true } })).request
    assert.deepEqual(dropped.tools, [tideTool])
  }
})

test('a tool that is no function is refused by its place', () => {
  assert.throws(
    () => request({ tools: [tideTool, { type: 'custom', custom: { name: 'x' } }] }),
    failsWith('unsupported_parameter', 'tools[1].type'),
  )
})

test('log probabilities are asked for as Ollama names them', () => {
  const { logprobs, top_logprobs: top } = request({ logprobs: true, top_logprobs: 3 })
  assert.deepEqual([logprobs, top], [true, 3])
})

test('a whole reply becomes a chat.completion with its usage', () => {
  const before = Math.floor(Date.now() / 1000)
  const { body, usage } = reply('chat-reply.json')
  const { id, created, ...rest } = body
  assert.match(String(id), /^chatcmpl-[0-9a-f]{32}$/)
  assert.ok(Number(created) >= before)
  assert.deepEqual(rest, {
    object: 'chat.completion',
    model: 'llama3.2',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Boiling takes about 5 minutes.' },
        logprobs: null,
        finish_reason: 'length',
      },
    ],
    usage: { prompt_tokens: 21, completion_tokens: 8, total_tokens: 29 },
  })
  assert.equal(usage?.promptTokens, 21)
  assert.equal(usage?.completionTokens, 8)
  assert.equal(usage?.estimated, false)
})

test('a whole reply with tool calls has null content, ids and arguments as text', () => {
  const [choice] = reply('chat-tools-reply.json').body.choices as Record<string, unknown>[]
  const message = choice?.message as { content: unknown; tool_calls: { id: string }[] }
  assert.equal(choice?.finish_reason, 'tool_calls')
  assert.equal(message.content, null)
  const [call] = message.tool_calls
  assert.match(call?.id ?? '', /^call_[0-9a-f]{32}$/)
  assert.deepEqual(
    { ...call, id: '' },
    { id: '', type: 'function', function: { name: 'get_tide', arguments: '{"port":"Brest"}' } },
  )
})

test('a structured reply stays the text that the model wrote', () => {
  const [choice] = reply('chat-structured-reply.json').body.choices as {
    message: { content: string }
  }[]
  assert.deepEqual(JSON.parse(choice?.message.content ?? ''), { depth: 12, open: true })
})

test('a reply that is not finished, or not a reply, is an invalid response', () => {
  const { reply: convert } = chatCall(testCall({ messages }))
  for (const wrong of [null, [], {}, { message: { content: 'a' }, done: false }, { done: true }]) {
    assert.throws(() => convert(wrong), failsWith('upstream_invalid_response'))
  }
})

test('a reply without counts has no usage', () => {
  const { reply: convert } = chatCall(testCall({ messages }))
  const { body, usage } = convert({ message: { role: 'assistant', content: 'a' }, done: true })
  assert.equal(usage, null)
  assert.equal('usage' in body, false)
})

test('a stream begins with the role, goes on with deltas, ends with reason and usage', async () => {
  const events = await chunks('chat-stream.ndjson', true)
  const ids = new Set(events.map(({ id }) => id))
  assert.equal(ids.size, 1)
  assert.match(String([...ids][0]), /^chatcmpl-/)
  assert.ok(events.every(({ object }) => object === 'chat.completion.chunk'))
  assert.ok(events.every(({ model }) => model === 'llama3.2'))
  const choices = choicesOf(events)
  assert.deepEqual(choices[0], {
    index: 0,
    delta: { role: 'assistant', content: '' },
    finish_reason: null,
  })
  assert.deepEqual(choices[1], { index: 0, delta: { content: 'Water' }, finish_reason: null })
  assert.deepEqual(choices.at(-1), { index: 0, delta: {}, finish_reason: 'stop' })
  assert.equal(choices.length, 1 + 13 + 1)
  const last = events.at(-1)
  assert.deepEqual(last?.choices, [])
  assert.deepEqual(last?.usage, { prompt_tokens: 19, completion_tokens: 13, total_tokens: 32 })
})

test('the usage chunk is kept from a client that did not ask for it', async () => {
  const events = await chunks('chat-stream.ndjson', false)
  assert.ok(events.every((event) => !('usage' in event)))
})

test('streamed tool calls count on, whole, with an id each', async () => {
  for (const size of [1, 100_000]) {
    const choices = choicesOf(await chunks('chat-stream-tools.ndjson', true, size))
    const deltas = choices.map(({ delta }) => delta as { tool_calls?: { id: string }[] })
    const calls = deltas.flatMap((delta) => delta.tool_calls ?? [])
    assert.match(calls[1]?.id ?? '', /^call_[0-9a-f]{32}$/)
    assert.deepEqual(
      calls.map((call) => ({ ...call, id: call.id.slice(0, 5) })),
      [
        {
          index: 0,
          id: 'call_',
          type: 'function',
          function: { name: 'get_tide', arguments: '{"port":"Brest","days":2}' },
        },
        {
          index: 1,
          id: 'call_',
          type: 'function',
          function: { name: 'get_tide', arguments: '{"port":"Saint-Malo"}' },
        },
      ],
    )
    assert.equal(calls[0]?.id, 'call_a1b2c3d0')
    assert.equal(choices.at(-1)?.finish_reason, 'tool_calls')
  }
})

test('thinking streams as reasoning_content', async () => {
  for (const size of [1, 100_000]) {
    const choices = choicesOf(await chunks('chat-stream-thinking.ndjson', false, size))
    assert.deepEqual(
      choices.map(({ delta }) => delta),
      [
        { role: 'assistant', content: '' },
        { reasoning_content: 'The user' },
        { reasoning_content: ' greets.' },
        { reasoning_content: ' Done.', content: 'Hello' },
        { content: '!' },
        {},
      ],
    )
  }
})

test('log probabilities stand beside their delta', async () => {
  const [, second] = choicesOf(await chunks('chat-stream-logprobs.ndjson', false))
  const entry = { token: 'Hi', logprob: -0.25, bytes: [72, 105] }
  assert.deepEqual(second, {
    index: 0,
    delta: { content: 'Hi' },
    logprobs: { content: [{ ...entry, top_logprobs: [entry] }] },
    finish_reason: null,
  })
})

test('a last line without message, reason and prompt count still ends the stream', async () => {
  const events = await chunks('chat-stream-bare-end.ndjson', true)
  assert.equal(choicesOf(events).at(-1)?.finish_reason, 'stop')
  assert.deepEqual(events.at(-1)?.usage, {
    prompt_tokens: 0,
    completion_tokens: 2,
    total_tokens: 2,
  })
})

test('an answer of nothing at all still says role and reason', () => {
  const start = chatCall(testCall({ messages }, { stream: true, includeUsage: true })).stream
  assert.ok(start !== null)
  const translate = start()
  assert.equal(translate({ message: { role: 'assistant', content: '' }, done: false }), '')
  const events = parseEvents(Buffer.from(translate({ done: true, done_reason: 'stop' })))
  assert.deepEqual(
    choicesOf(events).map(({ delta, finish_reason: reason }) => [delta, reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{}, 'stop'],
    ],
  )
})

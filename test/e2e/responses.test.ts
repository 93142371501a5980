// The Responses API over a local model, as its unmodified clients use it: openai and @openai/agents.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { createOpenAI } from '@ai-sdk/openai'
import { Agent, OpenAIResponsesModel, Runner, setTracingDisabled, tool } from '@openai/agents'
import { createEventWriter } from '@penstock/gateway/responses/event-log'
import { connectBus } from '@penstock/shared/bus/connect'
import { newResponseId } from '@penstock/shared/dialects/responses/response-ids'
import { tool as aiTool, isStepCount, streamText } from 'ai'
import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { fakeText } from '../harness/answers.ts'
import { type Servers, silent, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

type Event = OpenAI.Responses.ResponseStreamEvent

const model = 'local'
const weather: OpenAI.Responses.FunctionTool = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  strict: null,
}
const call = { toolCalls: [{ name: 'get_weather', arguments: { city: 'Paris' } }], content: [] }
const said = { content: ['It is', ' sunny'] }

let servers: Servers
let stack: Stack
let ollama: FakeOllama
let openai: OpenAI
/** Of another key. */
let other: OpenAI

before(async () => {
  servers = await startServers()
  ollama = await startFakeOllama({ models: ['llama3.2'] })
  const at = { model: 'ollama_chat/llama3.2', api_base: ollama.url }
  stack = await startStack({
    servers,
    config: {
      model_list: [{ model_name: model, litellm_params: at }],
      general_settings: { master_key: 'sk-1234' },
    },
  })
  const baseURL = `${stack.url}/v1`
  openai = new OpenAI({ apiKey: 'sk-1234', baseURL, maxRetries: 0 })
  const { json } = await stack.client.post('/key/generate', {})
  const { key } = z.object({ key: z.string() }).parse(json)
  other = new OpenAI({ apiKey: key, baseURL, maxRetries: 0 })
})
after(async () => {
  await stack.close()
  await Promise.all([ollama.close(), servers.close()])
})
beforeEach(() => ollama.setBehaviour('normal'))

/** The model calls its tool until it sees an output of one. */
function callFirst(): void {
  ollama.setBehaviour(({ body }) =>
    JSON.stringify(body.messages).includes('"role":"tool"') ? said : call,
  )
}

async function eventsOf(stream: AsyncIterable<Event>): Promise<Event[]> {
  const events: Event[] = []
  for await (const event of stream) events.push(event)
  const numbers = events.map(({ sequence_number: number }) => number)
  assert.deepEqual(
    numbers,
    events.map((_, index) => index + (numbers[0] ?? 0)),
  )
  return events
}

function deltasOf(events: readonly Event[]): string {
  return events.map((one) => (one.type === 'response.output_text.delta' ? one.delta : '')).join('')
}

function completed(events: readonly Event[]): OpenAI.Responses.Response {
  const last = events.at(-1)
  assert.ok(last?.type === 'response.completed', `ended with ${last?.type}`)
  return last.response
}

test('a text is answered, with its usage, its request echoed', async () => {
  const answer = await openai.responses.create({
    model,
    input: 'hello there',
    instructions: 'Be brief.',
    max_output_tokens: 20,
    metadata: { team: 'blue' },
  })
  assert.equal(answer.output_text, fakeText(5))
  assert.partialDeepStrictEqual(answer, {
    object: 'response',
    status: 'completed',
    instructions: 'Be brief.',
    max_output_tokens: 20,
    metadata: { team: 'blue' },
    usage: { output_tokens: 5 },
  })
  const { messages, options } = ollama.calls.at(-1)?.body ?? {}
  assert.deepEqual(messages, [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'hello there' },
  ])
  assert.partialDeepStrictEqual(options, { num_predict: 20 })
})

test('a stream tells of each step, the thoughts first, and ends with the whole response', async () => {
  ollama.setBehaviour({ thinking: 2 })
  const events = await eventsOf(await openai.responses.create({ model, input: 'x', stream: true }))
  const steps = events.map(({ type }) => type).filter((type, at, all) => type !== all[at - 1])
  assert.deepEqual(steps, [
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.reasoning_text.delta',
    'response.reasoning_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  assert.equal(deltasOf(events), fakeText(5))
  const [thought, message] = completed(events).output
  assert.equal(thought?.type, 'reasoning')
  assert.partialDeepStrictEqual(message, { content: [{ text: fakeText(5) }] })
})

test("the SDK's stream helper puts a cut-off answer together", async () => {
  const stream = openai.responses.stream({ model, input: 'x', max_output_tokens: 3 })
  const whole = await stream.finalResponse()
  assert.equal(whole.output_text, fakeText(3))
  assert.equal(whole.status, 'incomplete')
  assert.deepEqual(whole.incomplete_details, { reason: 'max_output_tokens' })
})

test('a structured answer is parsed', async () => {
  const format = zodTextFormat(z.object({ answer: z.string() }), 'answer')
  const answer = await openai.responses.parse({ model, input: 'say it', text: { format } })
  assert.deepEqual(answer.output_parsed, { answer: fakeText(5) })
  const schema = ollama.calls.at(-1)?.body.format
  assert.partialDeepStrictEqual(schema, { type: 'object', required: ['answer'] })
})

for (const kept of [true, false]) {
  const how = kept ? 'by previous_response_id' : 'sent back whole'
  test(`a tool is asked for, answered and its answer used (${how})`, async () => {
    callFirst()
    const question = { role: 'user' as const, content: 'Is it sunny in Paris?' }
    const base = { model, tools: [weather], store: kept }
    const first = await openai.responses.create({ ...base, input: [question] })
    const asked = first.output.find((item) => item.type === 'function_call')
    assert.ok(asked !== undefined)
    assert.deepEqual(JSON.parse(asked.arguments), { city: 'Paris' })
    const output = {
      type: 'function_call_output' as const,
      call_id: asked.call_id,
      output: 'sunny, 21 degrees',
    }
    const input = kept
      ? [output]
      : [question, ...(first.output as OpenAI.Responses.ResponseInput), output]
    const link = kept ? { previous_response_id: first.id } : {}
    const second = await openai.responses.create({ ...base, input, ...link })
    assert.equal(second.output_text, 'It is sunny')
    const messages = JSON.stringify(ollama.calls.at(-1)?.body.messages)
    assert.match(messages, /Is it sunny in Paris.*get_weather.*sunny, 21 degrees/)
  })
}

test('a tool call is streamed', async () => {
  ollama.setBehaviour(call)
  const request = { model, input: 'x', tools: [weather], stream: true as const }
  const events = await eventsOf(await openai.responses.create(request))
  const done = events.find((one) => one.type === 'response.function_call_arguments.done')
  assert.ok(done?.type === 'response.function_call_arguments.done')
  assert.deepEqual(JSON.parse(done.arguments), { city: 'Paris' })
  const [item] = completed(events).output
  assert.partialDeepStrictEqual(item, { name: 'get_weather', arguments: done.arguments })
})

test('what was said before is there as long as nobody deletes it, and for its key alone', async () => {
  const first = await openai.responses.create({ model, input: 'one' })
  const second = await openai.responses.create({
    model,
    input: [{ role: 'user', content: 'two' }],
    previous_response_id: first.id,
  })
  const third = { model, input: 'three', previous_response_id: second.id }
  await eventsOf(await openai.responses.create({ ...third, stream: true }))
  const { messages } = ollama.calls.at(-1)?.body ?? {}
  assert.deepEqual(
    (messages as { content: string }[]).map(({ content }) => content),
    ['one', fakeText(5), 'two', fakeText(5), 'three'],
  )
  assert.deepEqual(await openai.responses.retrieve(second.id), second)
  const listed = await openai.responses.inputItems.list(second.id)
  assert.partialDeepStrictEqual(listed.data, [{ role: 'user', content: [{ text: 'two' }] }])

  await assert.rejects(other.responses.retrieve(second.id), OpenAI.NotFoundError)
  await assert.rejects(other.responses.create(third), OpenAI.NotFoundError)
  await assert.rejects(other.responses.delete(second.id), OpenAI.NotFoundError)
  await openai.responses.delete(second.id)
  await assert.rejects(openai.responses.retrieve(second.id), OpenAI.NotFoundError)
  await assert.rejects(openai.responses.create(third), {
    status: 404,
    param: 'previous_response_id',
  })
})

test('an item is found by its id alone, and nothing is kept that is not to be', async () => {
  const first = await openai.responses.create({ model, input: 'one' })
  const id = first.output[0]?.id ?? ''
  const reference = [
    { type: 'item_reference' as const, id },
    { role: 'user' as const, content: '?' },
  ]
  const second = await openai.responses.create({ model, input: reference, store: false })
  assert.match(JSON.stringify(ollama.calls.at(-1)?.body.messages), /tok0/)
  await assert.rejects(openai.responses.retrieve(second.id), OpenAI.NotFoundError)
})

test('what cannot be done is refused with its field named', async () => {
  const refused: [object, string][] = [
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ input: [{ type: 'web_search_call', id: 'ws_1' }] }, 'input[0].type'],
    [{ input: [] }, 'input'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ background: true, store: false }, 'background'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] },
      'input[0].content[0].image_url',
    ],
  ]
  for (const [fields, param] of refused) {
    const request = { model, input: 'x', ...fields } as { model: string; input: string }
    await assert.rejects(openai.responses.create(request), { status: 400, param }, param)
  }
})

test('an error before the first token keeps its status; one after it fails the response', async () => {
  ollama.setBehaviour({ fault: { kind: 'status', status: 400, body: '{"error":"bad"}' } })
  const request = { model, input: 'x', stream: true as const }
  await assert.rejects(openai.responses.create(request), { status: 400 })
  ollama.setBehaviour('cut-off')
  const events = await eventsOf(await openai.responses.create(request))
  const last = events.at(-1)
  assert.ok(last?.type === 'response.failed')
  assert.equal(last.response.error?.code, 'server_error')
  assert.equal(deltasOf(events), fakeText(3))
})

test('in the background: queued, then in progress, then completed, read again from anywhere', async () => {
  const gate = Promise.withResolvers<void>()
  ollama.setBehaviour({ gate: gate.promise })
  const { started } = ollama.counts
  const queued = await openai.responses.create({ model, input: 'x', background: true })
  assert.equal(queued.status, 'queued')
  await ollama.until((counts) => counts.started === started + 1)
  assert.equal((await openai.responses.retrieve(queued.id)).status, 'queued')
  const following = openai.responses.retrieve(queued.id, { stream: true })
  gate.resolve()
  const all = await eventsOf(await following)
  const whole = completed(all)
  assert.equal(deltasOf(all), fakeText(5))
  assert.deepEqual(await openai.responses.retrieve(queued.id), {
    ...whole,
    output_text: fakeText(5),
  })
  for (const starting_after of [0, 4, all.length - 2]) {
    const rest = await openai.responses.retrieve(queued.id, { stream: true, starting_after })
    assert.deepEqual(await eventsOf(rest), all.slice(starting_after + 1))
  }
  await assert.rejects(other.responses.retrieve(queued.id, { stream: true }), OpenAI.NotFoundError)
})

test('a background stream whose client leaves goes on, and is cancelled only when asked', async () => {
  ollama.setBehaviour('stall')
  const { aborted } = ollama.counts
  const request = { model, input: 'x', background: true, stream: true as const }
  const stream = await openai.responses.create(request)
  let id = ''
  for await (const event of stream) {
    if (event.type === 'response.created') id = event.response.id
    if (event.type === 'response.output_text.delta') break
  }
  const watching = openai.responses.retrieve(id, { stream: true })
  const events = eventsOf(await watching)
  assert.equal((await openai.responses.retrieve(id)).status, 'in_progress')
  const cancelled = await openai.responses.cancel(id)
  assert.equal(cancelled.status, 'cancelled')
  await ollama.until((counts) => counts.aborted === aborted + 1)
  const last = (await events).at(-1)
  assert.ok(last?.type === 'response.incomplete')
  assert.equal(last.response.status, 'cancelled')
  assert.equal((await openai.responses.cancel(id)).status, 'cancelled')
})

for (const stream of [false, true]) {
  test(`@openai/agents: a tool round trip${stream ? ', streamed' : ''}`, async () => {
    callFirst()
    setTracingDisabled(true)
    const asked: unknown[] = []
    const getWeather = tool({
      name: 'get_weather',
      description: 'The weather in a city',
      parameters: z.object({ city: z.string() }),
      execute(given) {
        asked.push(given)
        return 'sunny, 21 degrees'
      },
    })
    // biome-ignore lint/suspicious/noExplicitAny: it may bundle another version of the same SDK
    const responsesModel = new OpenAIResponsesModel(openai as any, model)
    const agent = new Agent({ name: 'weather', model: responsesModel, tools: [getWeather] })
    const runner = new Runner()
    const question = 'Is it sunny in Paris?'
    if (stream) {
      const run = await runner.run(agent, question, { stream: true })
      let text = ''
      for await (const piece of run.toTextStream()) text += piece
      await run.completed
      assert.equal(text, 'It is sunny')
    } else {
      assert.equal((await runner.run(agent, question)).finalOutput, 'It is sunny')
    }
    assert.deepEqual(asked, [{ city: 'Paris' }])
    assert.match(JSON.stringify(ollama.calls.at(-1)?.body), /sunny, 21 degrees/)
  })
}

test('the AI SDK, which refers to items by their ids: a tool round trip', async () => {
  callFirst()
  const provider = createOpenAI({ apiKey: 'sk-1234', baseURL: `${stack.url}/v1` })
  const asked: unknown[] = []
  const getWeather = aiTool({
    description: 'The weather in a city',
    inputSchema: z.object({ city: z.string() }),
    execute(given) {
      asked.push(given)
      return 'sunny, 21 degrees'
    },
  })
  const { text } = streamText({
    model: provider.responses(model),
    prompt: 'Is it sunny in Paris?',
    tools: { get_weather: getWeather },
    stopWhen: isStepCount(3),
  })
  assert.equal(await text, 'It is sunny')
  assert.deepEqual(asked, [{ city: 'Paris' }])
})

test('a repeat with the same Idempotency-Key is the same response, never another one', async () => {
  const { started } = ollama.counts
  for (const background of [false, true]) {
    const headers = { 'idempotency-key': `once-${background}` }
    const create = (input: string) =>
      openai.responses.create({ model, input, background }, { headers })
    const first = await create('x')
    if (background) {
      await eventsOf(await openai.responses.retrieve(first.id, { stream: true }))
    }
    assert.equal((await create('x')).id, first.id)
    await assert.rejects(create('y'), { status: 422 })
  }
  assert.equal(ollama.counts.started, started + 2)
})

test('a gateway that was replaced cannot add to the events', async () => {
  const bus = await connectBus({ natsUrl: servers.natsUrl, name: 'test', log: silent })
  try {
    const id = newResponseId()
    const [replaced, other] = [createEventWriter(bus, id), createEventWriter(bus, id)]
    replaced.add('event: a\n\n')
    await replaced.flush()
    other.add('event: b\n\n')
    await assert.rejects(other.flush(), { code: 'conflict' })
    replaced.add('event: c\n\n')
    await replaced.flush()
  } finally {
    await bus.close()
  }
})

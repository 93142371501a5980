// Background responses and the death of processes: a worker or a gateway is killed in the middle, another
// one finishes, and whoever reads by resuming sees every event once.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import OpenAI from 'openai'
import { z } from 'zod'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { fakeText } from '../harness/answers.ts'
import { type Processes, type ServiceProcess, startProcesses } from '../harness/processes.ts'
import { type Servers, startServers } from '../harness/servers.ts'

type Event = OpenAI.Responses.ResponseStreamEvent

let servers: Servers
let ollama: FakeOllama
let penstock: Processes
let worker: ServiceProcess
let openai: OpenAI
/** How the next calls behave, by what is said to the model. */
const planned = new Map<string, object[]>()
/** Calls before the test. */
let started: number

before(async () => {
  servers = await startServers()
  ollama = await startFakeOllama({ models: ['llama3.2'] })
  const params = { model: 'ollama_chat/llama3.2', api_base: ollama.url, max_parallel_requests: 4 }
  penstock = await startProcesses({
    servers,
    config: {
      model_list: [{ model_name: 'llama', litellm_params: params }],
      general_settings: { master_key: 'sk-1234' },
    },
  })
  await Promise.all([penstock.start('router'), penstock.start('billing')])
  worker = await penstock.start('worker')
  await penstock.ready()
  openai = clientOf(penstock.url)
})
after(async () => {
  await penstock.close()
  await Promise.all([ollama.close(), servers.close()])
})
beforeEach(() => {
  started = ollama.counts.started
  ollama.setBehaviour(({ body }) => {
    const [message] = z.array(z.object({ content: z.string() })).parse(body.messages)
    return planned.get(message?.content ?? '')?.shift() ?? {}
  })
})

function clientOf(url: string): OpenAI {
  return new OpenAI({ apiKey: 'sk-1234', baseURL: `${url}/v1`, maxRetries: 0 })
}

/** @param behaviours of the calls with this input, one after the other; then as they should */
function begin(input: string, behaviours: object[], client = openai) {
  planned.set(input, [...behaviours])
  const request = { model: 'llama', input, background: true, stream: true as const }
  return client.responses.create(request)
}

const afterDeltas = (count: number) => {
  let seen = 0
  return (event: Event) => event.type === 'response.output_text.delta' && ++seen === count
}

/** Reads to the end, or until it has seen enough; then leaves. */
async function read(
  stream: AsyncIterable<Event>,
  isEnough: (event: Event) => boolean = () => false,
): Promise<Event[]> {
  const events: Event[] = []
  for await (const event of stream) {
    events.push(event)
    if (isEnough(event)) break
  }
  return events
}

function idOf([first]: readonly Event[]): string {
  assert.ok(first?.type === 'response.created')
  return first.response.id
}

function resume(client: OpenAI, events: readonly Event[]) {
  const starting_after = events.at(-1)?.sequence_number ?? -1
  return client.responses.retrieve(idOf(events), { stream: true, starting_after })
}

/** None missing, none twice. @returns the finished response */
function whole(events: readonly Event[]): OpenAI.Responses.Response {
  const numbers = events.map(({ sequence_number: number }) => number)
  assert.deepEqual(numbers, [...events.keys()])
  const last = events.at(-1)
  assert.ok(last?.type === 'response.completed', `ended with ${last?.type}`)
  return last.response
}

function textOf(events: readonly Event[]): string {
  return events.map((one) => (one.type === 'response.output_text.delta' ? one.delta : '')).join('')
}

async function loseWorker(): Promise<void> {
  const other = await penstock.start('worker')
  await penstock.kill(worker, 'SIGKILL')
  worker = other
}

test('a worker killed: another one finishes what it had, wherever that was', async () => {
  const other = { content: ['Something', ' else'] }
  const [early, same, different] = [
    begin('early', [{ fault: { kind: 'hang' } }]),
    begin('same', [{ fault: { kind: 'stall', afterTokens: 3 } }]),
    begin('different', [{ fault: { kind: 'stall', afterTokens: 3 } }, other]),
  ]
  const seen = await Promise.all([
    read(await early, (event) => event.type === 'response.queued'),
    read(await same, afterDeltas(3)),
    read(await different, afterDeltas(3)),
  ])
  await ollama.until((counts) => counts.started === started + 3)
  await loseWorker()
  const [first, second, third] = await Promise.all(
    seen.map(async (events) => [...events, ...(await read(await resume(openai, events)))]),
  )

  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  assert.equal(whole(first).output.length, 1)
  assert.equal(textOf(first), fakeText(5))

  // The same is said again: the text goes on where it was.
  const { id, output } = whole(second)
  assert.equal(textOf(second), fakeText(5))
  assert.partialDeepStrictEqual(output, [{ content: [{ text: fakeText(5) }] }])
  assert.equal((await openai.responses.retrieve(id)).output_text, fakeText(5))

  // Something else is said: in an item of its own.
  const response = whole(third)
  const done = third.flatMap((one) => (one.type === 'response.output_item.done' ? [one] : []))
  assert.partialDeepStrictEqual(
    done.map(({ output_index, item }) => ({ output_index, item })),
    [
      { output_index: 0, item: { status: 'incomplete', content: [{ text: fakeText(3) }] } },
      { output_index: 1, item: { status: 'completed', content: [{ text: 'Something else' }] } },
    ],
  )
  const stored = await openai.responses.retrieve(response.id)
  assert.equal(stored.output.length, 1)
  assert.equal(stored.output_text, 'Something else')
})

test('a gateway killed in the middle: another one takes the response over', async () => {
  const second = await penstock.startGateway()
  const third = await penstock.startGateway()
  const stall = { fault: { kind: 'stall', afterTokens: 3 } }
  const seen = await read(await begin('taken', [stall], clientOf(second.url)), afterDeltas(3))
  await penstock.kill(second, 'SIGKILL')
  const events = [...seen, ...(await read(await resume(clientOf(third.url), seen)))]
  whole(events)
  assert.equal(textOf(events), fakeText(5))
})

test('a gateway told to stop leaves its responses to the others', async () => {
  const second = await penstock.startGateway()
  const hang = { fault: { kind: 'hang' } }
  const stream = await begin('left', [hang], clientOf(second.url))
  const seen = await read(stream, (event) => event.type === 'response.queued')
  await ollama.until((counts) => counts.started === started + 1)
  await penstock.kill(second, 'SIGTERM')
  const events = [...seen, ...(await read(await resume(openai, seen)))]
  assert.equal(whole(events).status, 'completed')
  assert.equal(textOf(events), fakeText(5))
})

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { PenstockError } from '../../contracts/errors.ts'
import { noUsage } from '../../contracts/usage.ts'
import type { Fields } from '../dialect.ts'
import { responsesRequest } from './request.ts'
import { newResponseId, responseOfItem } from './response-ids.ts'
import { responses, responseTo } from './responses.ts'
import { eventText, type NumberedEvent, ResponseWriter } from './writer.ts'

mock.timers.enable({ apis: ['Date'], now: 1_000 })
const request = responsesRequest.parse({ model: 'm', input: 'hi' })
const asked = { id: newResponseId(), createdAt: 1, request }
const usage = { ...noUsage, promptTokens: 3, completionTokens: 4 }

/** Mulberry32 (public domain): the same numbers in every run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** A delta for each step of an answer: thoughts, text, calls whose pieces come mixed. */
function deltasOf(random: (below: number) => number): Fields[] {
  const pieces = (field: string) =>
    Array.from({ length: random(4) }, () => ({ [field]: `${'äbc😀 '.slice(0, 1 + random(5))}` }))
  const calls = Array.from({ length: random(3) }, (_, index) => index)
  const opening = calls.map((index) => ({
    tool_calls: [{ index, id: `call_${index}`, function: { name: `f${index}`, arguments: '' } }],
  }))
  const growing = Array.from({ length: calls.length * 2 }, () => ({
    tool_calls: [{ index: random(calls.length), function: { arguments: `{${random(9)}` } }],
  }))
  return [...pieces('reasoning_content'), ...pieces('content'), ...opening, ...growing]
}

const sse = (deltas: readonly Fields[], finish = 'stop') =>
  Buffer.from(
    [...deltas.map((delta) => [delta, null]), [{}, finish]]
      .map(([delta, finish_reason]) => ({ choices: [{ index: 0, delta, finish_reason }] }))
      .map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`)
      .join(''),
  )

function writing() {
  const events: NumberedEvent[] = []
  return { events, writer: new ResponseWriter(asked, (event) => events.push(event)) }
}

/** What a client that only reads events believes. */
function told(events: readonly NumberedEvent[]): Fields[] {
  const items = new Map<unknown, Fields & { text: string }>()
  for (const event of events) {
    const { output_index: index } = event
    if (event.type === 'response.output_item.added') {
      assert.equal(items.has(index), false)
      const { type, id, name } = event.item as Fields
      items.set(index, { type, id, name, text: '' })
    } else if (event.type.endsWith('.delta')) {
      const item = items.get(index)
      assert.ok(item !== undefined && item.done === undefined)
      assert.equal(item.id, event.item_id)
      item.text += event.delta
    } else if (event.type === 'response.output_item.done') {
      Object.assign(items.get(index) ?? {}, { done: event.item })
    }
  }
  return [...items.values()]
}

function textOf(item: Fields): unknown {
  const [part] = (item.content ?? []) as Fields[]
  return item.type === 'function_call' ? item.arguments : part?.text
}

function assertSound(events: readonly NumberedEvent[], response: Fields): void {
  const numbers = events.map(({ sequence_number: number }) => number)
  assert.deepEqual(numbers, [...events.keys()])
  const items = told(events)
  for (const item of items) assert.equal(item.text, textOf(item.done as Fields))
  // What was left behind stands before the answer.
  const output = response.output as Fields[]
  const answer = items.slice(items.length - output.length)
  assert.deepEqual(
    answer.map((item) => item.done),
    output,
  )
}

test('any answer, cut anywhere, is told the same: its events say what its response says', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = randomOf(seed)
    const bytes = sse(deltasOf(random))
    const [whole, cut] = [writing(), writing()]
    whole.writer.push(bytes)
    for (let at = 0; at < bytes.length; ) {
      const size = seed % 2 === 0 ? 1 : 1 + random(40)
      cut.writer.push(bytes.subarray(at, at + size))
      at += size
    }
    const [one, two] = [whole.writer.end(usage), cut.writer.end(usage)]
    assert.deepEqual(two, one, `seed ${seed}`)
    assert.deepEqual(cut.events, whole.events)
    assertSound(whole.events, one.response)
    assert.equal(one.last.sequence_number, whole.events.length)
  }
})

test('a plain reply and a stream of the same answer are the same response', () => {
  const message = {
    role: 'assistant',
    content: 'text',
    reasoning_content: 'thought',
    tool_calls: [
      { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } },
      { id: 'c2', type: 'function', function: { name: 'g', arguments: '{"a":1}' } },
    ],
  }
  const reply = {
    model: 'upstream',
    choices: [{ index: 0, message, finish_reason: 'tool_calls' }],
    usage: { prompt_tokens: 3, completion_tokens: 4 },
  }
  const { tool_calls: calls, ...rest } = message
  const deltas = [rest, ...calls.map((call, index) => ({ tool_calls: [{ index, ...call }] }))]
  const { writer } = writing()
  writer.push(sse(deltas))
  const { response } = writer.end(usage)
  assert.deepEqual({ ...responseTo(reply, asked), model: 'm' }, response)
})

test('an answer that broke off and is given again goes on where it was, wherever that is', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomOf(seed)
    const bytes = sse(deltasOf(random))
    const { events, writer } = writing()
    const reference = writing()
    reference.writer.push(bytes)
    const expected = reference.writer.end(usage)
    // Cut once or twice; every second time it is set up again from its events.
    let current = writer
    for (let breaks = 1 + random(2); breaks > 0; breaks--) {
      current.push(bytes.subarray(0, random(bytes.length)))
      if (seed % 2 === 0) current.restart()
      else {
        current = new ResponseWriter(asked, (event) => events.push(event))
        current.resume(structuredClone(events))
      }
    }
    current.push(bytes)
    const { response, last } = current.end(usage)
    assert.deepEqual(response, expected.response, `seed ${seed}`)
    assert.equal(last.sequence_number, events.length)
    assertSound(events, response)
    assert.deepEqual(told(events), told(reference.events))
  }
})

test('another answer than the one that broke off stands alone, whatever was told before', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = randomOf(seed)
    const [first, second] = [deltasOf(random), deltasOf(random)]
    const reference = writing()
    reference.writer.push(sse(second))
    const expected = reference.writer.end(usage).response.output as Fields[]
    const { events, writer } = writing()
    const bytes = sse(first)
    writer.push(bytes.subarray(0, random(bytes.length)))
    writer.restart()
    writer.push(sse(second))
    const { response } = writer.end(usage)
    const texts = (items: unknown) => (items as Fields[]).map((item) => [item.type, textOf(item)])
    assert.deepEqual(texts(response.output), texts(expected), `seed ${seed}`)
    assertSound(events, response)
  }
})

test('a cut-off answer is incomplete, with its reason', () => {
  const { writer } = writing()
  writer.push(sse([{ content: 'a' }], 'length'))
  const { response, last } = writer.end(usage)
  assert.equal(last.type, 'response.incomplete')
  assert.deepEqual(response.incomplete_details, { reason: 'max_output_tokens' })
  assert.partialDeepStrictEqual(response.usage, {
    input_tokens: 3,
    output_tokens: 4,
    total_tokens: 7,
  })
})

test('a failure ends the response where one has begun, and is an error event where none has', () => {
  const error = new PenstockError('upstream_cut_off', 'It broke.').info
  const fields = { model: 'm', input: 'hi' }
  const early = responses.stream(fields).error(error)
  assert.match(Buffer.from(early).toString(), /^event: error\ndata: \{"type":"error".*"It broke."/)
  const stream = responses.stream(fields)
  stream.push(sse([{ content: 'a' }]))
  const late = Buffer.from(stream.error(error)).toString()
  assert.match(late, /event: response.failed\ndata: .*"server_error","message":"It broke."/)
  assert.match(late, /"content":\[\{"type":"output_text","text":"a"/)
})

test('thoughts that a provider wants back come back word by word', () => {
  const block = { type: 'thinking', thinking: 'Hm.', signature: 'sig' }
  const { writer } = writing()
  writer.push(sse([{ reasoning_content: 'Hm.' }, { thinking_blocks: [block] }, { content: 'x' }]))
  const { response } = writer.end(usage)
  const { body } = responses.toCanonical({ model: 'm', input: response.output as Fields[] })
  assert.deepEqual(body.messages, [
    { role: 'assistant', content: 'x', reasoning_content: 'Hm.', thinking_blocks: [block] },
  ])
})

test("an item's id leads to its response", () => {
  const { events, writer } = writing()
  writer.push(sse([{ content: 'x' }]))
  const [item] = told(events)
  assert.equal(responseOfItem(String(item?.id)), asked.id)
  assert.equal(responseOfItem('msg_from_elsewhere'), null)
  assert.match(eventText(events[0] ?? assert.fail()), /^event: response.created\ndata: \{"type"/)
})

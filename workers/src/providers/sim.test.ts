// The simulator: what it says, counts and delays, and that it obeys its signal.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { failsWith, testCall } from './provider-test-kit.ts'
import { sim } from './sim.ts'
import { chunksOf, textOf } from './sim-test-kit.ts'

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>

const messages = [
  { role: 'system', content: 'be brief' },
  { role: 'user', content: [{ type: 'text', text: 'one two three' }, { type: 'image_url' }] },
]

/** Everything that needs no timer has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await turn()
}

async function run(body: Record<string, unknown>, options: CallOptions = {}) {
  const emitted: Uint8Array[] = []
  const emit = (events: Uint8Array) => void emitted.push(events)
  const call = testCall(body, { model: 'lorem', emit, ...options })
  const { body: reply, usage } = await sim.provider.run(call)
  const json = reply === null ? null : JSON.parse(Buffer.from(reply).toString())
  return { json, usage, chunks: chunksOf(emitted) }
}

test('a chat says that it is simulated, at the length asked for, and counts words', async () => {
  const { json, usage } = await run({ messages, sim_tokens: 8 })
  const [choice] = json.choices
  assert.equal(choice.message.content, 'This is a simulated answer. Lorem ipsum dolor')
  assert.deepEqual(
    [json.object, json.model, choice.finish_reason],
    ['chat.completion', 'lorem', 'stop'],
  )
  assert.deepEqual(json.usage, { prompt_tokens: 5, completion_tokens: 8, total_tokens: 13 })
  assert.deepEqual([usage?.promptTokens, usage?.completionTokens], [5, 8])
})

test('max_tokens ends it early, and the length may stand in the model’s name', async () => {
  const cut = await run({ messages, max_completion_tokens: 3 })
  assert.equal(cut.json.choices[0].message.content, 'This is a')
  assert.equal(cut.json.choices[0].finish_reason, 'length')
  const named = await run({ messages }, { model: 'lorem?sim_tokens=5' })
  assert.equal(named.json.choices[0].message.content, 'This is a simulated answer.')
  assert.equal(named.json.choices[0].finish_reason, 'stop')
  assert.equal((await run({ messages })).usage?.completionTokens, 64)
})

test('a stream says the same as the whole answer, with usage if it is wanted', async () => {
  const whole = await run({ messages, sim_tokens: 200 })
  for (const includeUsage of [true, false]) {
    const { chunks, usage } = await run(
      { messages, sim_tokens: 200 },
      { stream: true, includeUsage },
    )
    assert.equal(textOf(chunks), whole.json.choices[0].message.content)
    assert.equal(chunks[0]?.choices[0]?.delta?.role, 'assistant')
    assert.equal(chunks[201]?.choices[0]?.finish_reason, 'stop')
    assert.deepEqual(chunks[202]?.usage, includeUsage ? whole.json.usage : undefined)
    assert.deepEqual(usage, whole.usage)
  }
})

test('completions, whole and streamed', async () => {
  const body = { prompt: 'def f(', suffix: 'return x', sim_tokens: 3 }
  const { json, usage } = await run(body, { operation: 'completion' })
  assert.deepEqual([json.object, json.choices[0].text], ['text_completion', 'This is a'])
  assert.equal(usage?.promptTokens, 4)
  const { chunks } = await run(body, { operation: 'completion', stream: true })
  assert.deepEqual(
    chunks.map(({ choices: [choice] }) => [choice?.text, choice?.finish_reason]),
    [
      ['This', null],
      [' is', null],
      [' a', null],
      ['', 'stop'],
    ],
  )
})

const tools = ['first', 'second'].map((name) => ({
  type: 'function',
  function: {
    name,
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
      required: ['city'],
    },
  },
}))

test('a forced tool is called with arguments of its schema, otherwise none is', async () => {
  const second = { type: 'function', function: { name: 'second' } }
  for (const [choice, name] of [
    ['required', 'first'],
    [second, 'second'],
  ]) {
    const { json } = await run({ messages, tools, tool_choice: choice })
    const [{ message, finish_reason: finish }] = json.choices
    assert.deepEqual([message.content, finish], [null, 'tool_calls'])
    assert.equal(message.tool_calls[0].function.name, name)
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), {
      city: 'lorem',
      days: 2,
    })
    const { chunks } = await run({ messages, tools, tool_choice: choice }, { stream: true })
    const deltas = chunks.flatMap(({ choices }) => choices[0]?.delta?.tool_calls ?? [])
    assert.equal(deltas[0]?.function.name, name)
    const streamed = deltas.map((delta) => delta.function.arguments).join('')
    assert.equal(streamed, message.tool_calls[0].function.arguments)
  }
  for (const choice of ['auto', 'none', undefined]) {
    const { json } = await run({ messages, tools, tool_choice: choice })
    assert.equal(json.choices[0].finish_reason, 'stop')
  }
})

test('wanted JSON is JSON of the wanted schema', async () => {
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } } }
  const format = { type: 'json_schema', json_schema: { name: 's', schema } }
  const typed = await run({ messages, response_format: format })
  assert.deepEqual(JSON.parse(typed.json.choices[0].message.content), { ok: true })
  const loose = await run({ messages, response_format: { type: 'json_object' } })
  assert.equal(typeof JSON.parse(loose.json.choices[0].message.content), 'object')
})

test('embeddings are unit vectors that depend on the input alone', async () => {
  const embed = (body: object) => run({ ...body }, { operation: 'embedding' })
  const { json, usage } = await embed({ input: ['a b', 'c', 'a b'], dimensions: 16 })
  const [first, second, third] = json.data.map((item: { embedding: number[] }) => item.embedding)
  assert.deepEqual(first, third)
  assert.notDeepEqual(first, second)
  assert.ok(Math.abs(Math.hypot(...first) - 1) < 1e-6)
  assert.deepEqual([first.length, usage?.promptTokens, usage?.completionTokens], [16, 5, 0])
  const base64 = await embed({ input: 'a b', dimensions: 16, encoding_format: 'base64' })
  const bytes = Buffer.from(base64.json.data[0].embedding, 'base64')
  const decoded = Array.from({ length: 16 }, (_, i) => bytes.readFloatLE(i * 4))
  assert.deepEqual(decoded, first)
  assert.equal((await embed({ input: [1, 2, 3] })).json.data.length, 1)
  assert.equal((await embed({ input: [[1], [2]] })).json.data.length, 2)
  await assert.rejects(embed({}), failsWith('invalid_request', 'input'))
  await assert.rejects(
    embed({ input: 'x', dimensions: 0 }),
    failsWith('invalid_request', 'dimensions'),
  )
})

test('errors come at their rate and with their status, in the same order for the same seed', async () => {
  const outcomes = async (id: string, more = {}) => {
    const body = { messages, sim_error_rate: 0.3, sim_error_status: 429, sim_seed: 7, ...more }
    let seen = ''
    for (let i = 0; i < 200; i += 1) {
      seen += await run(body, { deployment: { id } }).then(
        () => '.',
        (error) => {
          assert.ok(error instanceof PenstockError)
          assert.equal(error.info.status, 429)
          return 'x'
        },
      )
    }
    return seen
  }
  const first = await outcomes('a')
  assert.equal(await outcomes('b'), first)
  assert.notEqual(await outcomes('c', { sim_seed: 8 }), first)
  const failed = first.split('x').length - 1
  assert.ok(failed > 30 && failed < 90, `${failed} of 200`)
})

test('tokens are spread over time, and the first one has its own delay', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  const emitted: string[] = []
  const call = testCall(
    { messages, sim_tokens: 7, sim_ttft_ms: 50, sim_tokens_per_second: 10 },
    { stream: true, model: 'lorem', emit: (events) => void emitted.push(String(events)) },
  )
  const running = sim.provider.run(call)
  const seen: number[] = []
  for (const ms of [49, 1, 99, 1, 100, 1_000]) {
    await settled()
    t.mock.timers.tick(ms)
    await settled()
    seen.push(emitted.join('').split('"content":"').length - 1)
  }
  await running
  // The opening chunk has an empty content.
  assert.deepEqual(seen, [0, 2, 2, 3, 4, 8])
  assert.match(emitted.at(-1) ?? '', /"finish_reason":"stop"/)
})

test('an abort ends a wait, a hang and a slow stream with the signal’s reason', async () => {
  const reason = new PenstockError('client_closed_request', 'left')
  const bodies = [
    { sim_ttft_ms: 3_600_000 },
    { sim_hang_rate: 1 },
    { sim_tokens_per_second: 0.001 },
  ]
  for (const body of bodies) {
    for (const stream of [true, false]) {
      const leaving = new AbortController()
      const running = run({ messages, ...body }, { stream, signal: leaving.signal })
      setImmediate(() => leaving.abort(reason))
      await assert.rejects(running, (error) => error === reason)
    }
  }
  await assert.rejects(
    run({ messages }, { signal: AbortSignal.abort(reason) }),
    (error) => error === reason,
  )
})

test('an impossible parameter is named', async () => {
  const cases = { sim_ttft_ms: 'soon', sim_error_rate: 2, sim_tokens: -1, max_tokens: 0, n: 2 }
  for (const [param, value] of Object.entries(cases)) {
    await assert.rejects(run({ messages, [param]: value }), failsWith('invalid_request', param))
  }
})

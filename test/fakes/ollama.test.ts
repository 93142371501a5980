import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { closeHttp } from '@penstock/workers/providers/http'
import { ollama } from '@penstock/workers/providers/ollama'
import type { ProviderCall } from '@penstock/workers/providers/provider'
import { testCall } from '@penstock/workers/providers/provider-test-kit'
import { type FakeOllama, type FakeOllamaOptions, startFakeOllama } from './ollama.ts'
import type { Behaviour } from './ollama-behaviour.ts'

const messages = [{ role: 'user', content: 'one two three' }]

async function start(options: FakeOllamaOptions = {}): Promise<FakeOllama> {
  const fake = await startFakeOllama(options)
  after(() => fake.close())
  return fake
}

function post(url: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const init = { method: 'POST', body: JSON.stringify(body), ...(signal ? { signal } : {}) }
  return fetch(url, init)
}

function linesOf(text: string): Record<string, unknown>[] {
  assert.ok(text.endsWith('\n'))
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line))
}

type RunOptions = Partial<Omit<ProviderCall, 'deployment'>> & { deployment?: Partial<Deployment> }

/** Runs the real provider against the fake; `text` is what its client would have read. */
async function run(fake: FakeOllama, options: RunOptions = {}) {
  const emitted: Uint8Array[] = []
  const call = testCall(options.body ?? { messages }, {
    stream: true,
    emit: (events) => void emitted.push(events),
    ...options,
    deployment: { ...options.deployment, apiBase: fake.url },
  })
  let code: string | null = null
  let usage: unknown = null
  try {
    usage = (await ollama.provider.run(call)).usage
  } catch (error) {
    if (!(error instanceof PenstockError)) throw error
    code = error.code
  }
  const events = Buffer.concat(emitted).toString('utf8').split('\n\n').slice(0, -1)
  const parsed = events.map((event) => JSON.parse(event.slice('data: '.length)))
  const texts = parsed.map(({ choices: [first] }) => first?.delta?.content ?? first?.text ?? '')
  return { code, usage, text: texts.join('') }
}

after(closeHttp)

describe('the wire', () => {
  test('a chat streams one object a line, the last one done and counted', async () => {
    const fake = await start({ behaviour: { tokens: 3 } })
    const response = await post(`${fake.url}/api/chat`, { model: 'llama3.2', messages })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('content-type'), 'application/x-ndjson')
    const lines = linesOf(await response.text())
    assert.deepEqual(
      lines.map(({ message }) => (message as { content: string }).content),
      ['tok0', ' tok1', ' tok2', ''],
    )
    assert.deepEqual(Object.keys(lines[0] ?? {}), ['model', 'created_at', 'message', 'done'])
    assert.match(String(lines[0]?.created_at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/)
    const last = lines.at(-1)
    assert.deepEqual([last?.done, last?.done_reason], [true, 'stop'])
    assert.deepEqual([last?.prompt_eval_count, last?.eval_count], [3, 3])
    assert.equal(fake.counts.promptTokens, 3)
    assert.equal(fake.counts.completionTokens, 3)
  })

  test('stream: false answers in one object, and num_predict ends an answer early', async () => {
    const fake = await start({ behaviour: { tokens: 9 } })
    const body = { model: 'llama3.2', prompt: 'a', stream: false, options: { num_predict: 2 } }
    const response = await post(`${fake.url}/api/generate`, body)
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    const reply = (await response.json()) as Record<string, unknown>
    assert.deepEqual(
      [reply.response, reply.done_reason, reply.eval_count],
      ['tok0 tok1', 'length', 2],
    )
  })

  test('embeddings have unit length and depend on their text', async () => {
    const fake = await start()
    const body = { model: 'llama3.2', input: ['a b', 'c'], dimensions: 4 }
    const response = await post(`${fake.url}/api/embed`, body)
    const reply = (await response.json()) as { embeddings: number[][]; prompt_eval_count: number }
    const [first = [], second = []] = reply.embeddings
    assert.equal(first.length, 4)
    assert.ok(Math.abs(Math.hypot(...first) - 1) < 1e-6)
    assert.notDeepEqual(first, second)
    assert.equal(reply.prompt_eval_count, 3)
  })

  test('its models are listed, shown and missing, by name or name:latest', async () => {
    const fake = await start({ models: ['llama3.2', 'qwen3:8b'] })
    const tags = (await (await fetch(`${fake.url}/api/tags`)).json()) as {
      models: { name: string }[]
    }
    assert.deepEqual(
      tags.models.map(({ name }) => name),
      ['llama3.2:latest', 'qwen3:8b'],
    )
    assert.equal((await post(`${fake.url}/api/show`, { model: 'llama3.2' })).status, 200)
    const missing = await post(`${fake.url}/api/chat`, { model: 'qwen3', messages })
    assert.equal(missing.status, 404)
    assert.deepEqual(await missing.json(), { error: "model 'qwen3' not found" })
    const version = (await (await fetch(`${fake.url}/api/version`)).json()) as { version: string }
    assert.match(version.version, /^\d+\.\d+\.\d+$/)
  })

  test('it is as strict as Ollama about types', async () => {
    const fake = await start()
    const refused = async (path: string, body: Record<string, unknown>) =>
      (await post(fake.url + path, { model: 'llama3.2', ...body })).status
    const parts = [{ role: 'user', content: [{ type: 'text', text: 'a' }] }]
    const calls = [
      { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: '{}' } }] },
    ]
    assert.equal(await refused('/api/chat', { messages: parts }), 400)
    assert.equal(await refused('/api/chat', { messages: calls }), 400)
    assert.equal(await refused('/api/chat', { messages, options: { stop: 'a' } }), 500)
    assert.equal(await refused('/api/chat', { messages, think: 'xhigh' }), 400)
    assert.equal(await refused('/api/generate', { prompt: 'a', raw: true, system: 'b' }), 400)
    assert.equal(await refused('/api/embed', { input: [1, 2] }), 400)
    assert.equal((await post(`${fake.url}/v2/chat`, {})).status, 404)
  })
})

describe('the provider against it', () => {
  test('everything that a chat request can hold is accepted', async () => {
    const fake = await start()
    const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
    const body = {
      messages: [
        { role: 'developer', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'image_url', image_url: 'data:image/png;base64,QUJD' }] },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c1', content: 'ok' },
      ],
      tools: [{ type: 'function', function: { name: 'f' } }],
      temperature: 0.5,
      max_tokens: 4,
      stop: 'END',
      seed: 1,
      keep_alive: '5m',
      reasoning_effort: 'low',
      response_format: { type: 'json_object' },
    }
    const { code, text } = await run(fake, { body })
    assert.equal(code, null)
    assert.equal(text, '{"answer":"tok0 tok1 tok2 tok3"}')
    assert.equal(fake.calls[0]?.path, '/api/chat')
    assert.equal(fake.calls[0]?.body.format, 'json')
  })

  for (const chunking of ['line', 'byte', 'lines', 'mid-character'] as const) {
    test(`a stream cut as '${chunking}' arrives whole and in order`, async () => {
      const content = ['grüß', ' Gott', ' 水', ' 🚰', '!']
      const fake = await start({ behaviour: { chunking, content } })
      const { text, usage } = await run(fake)
      assert.equal(text, content.join(''))
      const { promptTokens, completionTokens } = usage as Record<string, number>
      assert.deepEqual([promptTokens, completionTokens], [3, 5])
    })
  }

  for (const [preset, streamed, whole] of [
    ['normal', null, null],
    ['busy', 'upstream_rate_limited', 'upstream_rate_limited'],
    ['crash', 'upstream_error', 'upstream_error'],
    ['cut-off', 'upstream_cut_off', 'upstream_cut_off'],
    ['no-end', 'upstream_cut_off', 'upstream_invalid_response'],
    ['garbage', 'upstream_invalid_response', 'upstream_invalid_response'],
    ['error-line', 'upstream_error', 'upstream_error'],
  ] as const) {
    test(`'${preset}' ends as ${streamed ?? 'an answer'}`, async () => {
      const fake = await start({ behaviour: preset })
      const stream = await run(fake)
      assert.equal(stream.code, streamed)
      assert.equal((await run(fake, { stream: false })).code, whole)
      const midway = !['normal', 'busy', 'crash'].includes(preset)
      if (midway) assert.equal(stream.text, 'tok0 tok1 tok2')
    })
  }

  for (const preset of ['hang', 'stall'] as const) {
    test(`'${preset}' lasts until the client leaves, which the fake notes`, async () => {
      const fake = await start({ behaviour: preset })
      for (const stream of [true, false]) {
        const controller = new AbortController()
        const left = run(fake, { stream, signal: controller.signal })
        await fake.until(({ started }) => started === 1 + fake.counts.aborted)
        const aborted = fake.counts.aborted + 1
        controller.abort(new PenstockError('client_closed_request', 'gone'))
        assert.equal((await left).code, 'client_closed_request')
        await fake.until((counts) => counts.aborted === aborted)
      }
      assert.deepEqual([fake.counts.finished, fake.counts.concurrent], [0, 0])
    })
  }

  test('a client that leaves at token 5 stops the generation', async () => {
    const fake = await start({ behaviour: { tokens: 10_000, tokenDelayMs: 1 } })
    const controller = new AbortController()
    let seen = ''
    const emit = (events: Uint8Array) => {
      seen += Buffer.from(events).toString('utf8')
      if (seen.includes('tok4'))
        controller.abort(new PenstockError('client_closed_request', 'gone'))
    }
    const { code } = await run(fake, { emit, signal: controller.signal })
    assert.equal(code, 'client_closed_request')
    await fake.until(({ aborted }) => aborted === 1)
    assert.ok(fake.counts.generatedTokens >= 5 && fake.counts.generatedTokens < 10_000)
    assert.equal(fake.counts.completionTokens, 0)
  })

  test('without counts the usage is unknown', async () => {
    const fake = await start({ behaviour: 'no-usage' })
    assert.equal((await run(fake)).usage, null)
  })

  test('tool calls and thinking come through', async () => {
    const toolCalls = [{ name: 'get_tide', arguments: { port: 'Brest' } }]
    const fake = await start({ behaviour: { thinking: 2, tokens: 0, toolCalls } })
    const { body } = await ollama.provider.run(
      testCall({ messages }, { deployment: { apiBase: fake.url } }),
    )
    const [choice] = JSON.parse(Buffer.from(body ?? []).toString('utf8')).choices
    assert.equal(choice.finish_reason, 'tool_calls')
    assert.equal(choice.message.reasoning_content, 'think0 think1')
    assert.equal(choice.message.tool_calls[0].function.arguments, '{"port":"Brest"}')
  })

  test('200 streams of 100 tokens at once: every token in order, and the counts agree', async () => {
    const gate = Promise.withResolvers<void>()
    const behaviour = { tokens: 100, tokenDelayMs: 1, gate: gate.promise }
    const fake = await start({ behaviour, keepCalls: 10 })
    const expected = Array.from({ length: 100 }, (_, index) => `tok${index}`).join(' ')
    const running = Promise.all(Array.from({ length: 200 }, () => run(fake)))
    await fake.until(({ concurrent }) => concurrent === 200)
    gate.resolve()
    const answers = await running
    assert.ok(answers.every(({ code, text }) => code === null && text === expected))
    const usages = answers.map(({ usage }) => usage as Record<string, number>)
    const sum = (field: string) => usages.reduce((total, usage) => total + (usage[field] ?? 0), 0)
    await fake.until(({ concurrent }) => concurrent === 0)
    const { counts } = fake
    assert.deepEqual([counts.started, counts.finished, counts.aborted], [200, 200, 0])
    assert.deepEqual([counts.promptTokens, counts.completionTokens], [600, 20_000])
    assert.deepEqual([sum('promptTokens'), sum('completionTokens')], [600, 20_000])
    assert.equal(counts.maxConcurrent, 200)
    assert.equal(fake.calls.length, 10)
  })
})

test('each call may behave in its own way, decided when it comes', async () => {
  const fake = await start()
  fake.setBehaviour(({ body }): Partial<Behaviour> => ({ tokens: body.think === false ? 1 : 2 }))
  assert.equal((await run(fake, { body: { messages, think: false } })).text, 'tok0')
  assert.equal((await run(fake)).text, 'tok0 tok1')
})

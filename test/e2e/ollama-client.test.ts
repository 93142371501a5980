// The unmodified ollama package against Penstock: its users reach the whole fleet, and where an Ollama
// server answers, its bytes come through as they are.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { Ollama, type Tool } from 'ollama'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { allOf } from '../harness/all-of.ts'
import { fakeText } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const masterKey = 'sk-1234'
const headers = { Authorization: `Bearer ${masterKey}` }
const messages = [{ role: 'user', content: 'Say ten words' }]
const weatherTool: Tool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather in a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', description: 'Its name' } },
      required: ['city'],
    },
  },
}
const upstreams = [
  { name: 'Ollama', chat: 'local-chat', code: 'local-code', embed: 'local-embed' },
  { name: 'OpenAI', chat: 'cloud-chat', code: 'cloud-code', embed: 'cloud-embed' },
] as const
/** What the fake Ollama reports of every generation (docs/api.md has the same figures). */
const fakeDuration = 4_883_583_458

let servers: Servers
let stack: Stack
let fake: FakeOllama
let cloud: FakeOpenAi
let ollama: Ollama

before(async () => {
  servers = await startServers()
  fake = await startFakeOllama({ models: ['llama3.2', 'qwen2.5-coder', 'nomic-embed-text'] })
  cloud = await startFakeOpenAi({ apiKey: 'sk-upstream' })
  const atOllama = { api_base: fake.url }
  const inCloud = { api_base: cloud.url, api_key: 'sk-upstream' }
  const model = (model_name: string, litellm_params: object, model_info: object = {}) => {
    return { model_name, litellm_params, model_info }
  }
  stack = await startStack({
    servers,
    config: {
      model_list: [
        model('local-chat', { model: 'ollama_chat/llama3.2', ...atOllama }),
        model('local-code', { model: 'ollama/qwen2.5-coder', ...atOllama }),
        model(
          'local-embed',
          { model: 'ollama/nomic-embed-text', ...atOllama },
          { mode: 'embedding', max_input_tokens: 2048 },
        ),
        model('cloud-chat', { model: 'openai/gpt-4o-mini', ...inCloud }),
        model('cloud-code', { model: 'text-completion-openai/code-model', ...inCloud }),
        model('cloud-embed', { model: 'openai/text-embedding-3-small', ...inCloud }),
      ],
      general_settings: { master_key: masterKey },
    },
  })
  ollama = new Ollama({ host: stack.url, headers })
})
after(async () => {
  await stack.close()
  await Promise.all([fake.close(), cloud.close(), servers.close()])
})
beforeEach(() => {
  fake.setBehaviour('normal')
  cloud.setBehaviour('normal')
})

for (const { name, chat, code, embed } of upstreams) {
  const isNative = name === 'Ollama'

  describe(`over ${name}`, () => {
    test('a chat is answered, with its counts and durations', async () => {
      const answer = await ollama.chat({ model: chat, messages, options: { num_predict: 3 } })
      assert.deepEqual(answer.message, { role: 'assistant', content: fakeText(3) })
      assert.equal(answer.done, true)
      assert.equal(answer.done_reason, 'length')
      assert.equal(answer.prompt_eval_count, 3)
      assert.equal(answer.eval_count, 3)
      assert.equal(answer.model, isNative ? 'llama3.2' : chat)
      if (isNative) assert.equal(answer.total_duration, fakeDuration)
    })

    test('a stream brings the text in pieces, and the counts in its last line', async () => {
      if (isNative) fake.setBehaviour({ chunking: 'byte', thinking: 2 })
      else cloud.setBehaviour({ chunking: 'byte', reasoning: 2 })
      const stream = await ollama.chat({ model: chat, messages, stream: true })
      const parts = await allOf(stream)
      assert.equal(parts.map(({ message }) => message.content).join(''), fakeText(5))
      const thinking = parts.map(({ message }) => message.thinking ?? '')
      assert.equal(thinking.join(''), 'think0 think1')
      assert.ok(parts.length >= 8)
      assert.deepEqual(
        parts.map(({ done }) => done),
        parts.map((_, index) => index === parts.length - 1),
      )
      assert.partialDeepStrictEqual(parts.at(-1), { done_reason: 'stop', eval_count: 7 })
      if (isNative) assert.equal(parts.at(-1)?.total_duration, fakeDuration)
    })

    for (const stream of [false, true]) {
      test(`a tool is asked for and its answer used (${stream ? 'streamed' : 'whole'})`, async () => {
        const call = { toolCalls: [{ name: 'get_weather', arguments: { city: 'Paris' } }] }
        const said = { content: ['It is', ' sunny'] }
        const isAnswered = ({ body }: { body: Record<string, unknown> }) =>
          JSON.stringify(body.messages).includes('"role":"tool"')
        fake.setBehaviour((asked) => (isAnswered(asked) ? said : { ...call, content: [] }))
        cloud.setBehaviour((asked) => (isAnswered(asked) ? said : call))

        const ask = async (conversation: typeof messages) => {
          const request = { model: chat, messages: conversation, tools: [weatherTool] }
          if (!stream) return [(await ollama.chat(request)).message]
          const lines = await allOf(await ollama.chat({ ...request, stream: true }))
          return lines.map(({ message }) => message)
        }
        const asked = await ask(messages)
        const calls = asked.flatMap((one) => one.tool_calls ?? [])
        assert.deepEqual(
          calls.map((one) => [one.function.name, one.function.arguments]),
          [['get_weather', { city: 'Paris' }]],
        )
        const assistant = { role: 'assistant', content: '', tool_calls: calls }
        const result = { role: 'tool', tool_name: 'get_weather', content: 'sunny, 21 degrees' }
        const answer = await ask([...messages, assistant, result])
        assert.equal(answer.map(({ content }) => content).join(''), 'It is sunny')
        const { body } = (isNative ? fake : cloud).calls.at(-1) ?? {}
        assert.match(JSON.stringify(body), /sunny, 21 degrees/)
      })
    }

    test('a schema is passed on, and the answer is JSON', async () => {
      const format = { type: 'object', properties: { answer: { type: 'string' } } }
      if (!isNative) cloud.setBehaviour({ content: ['{"answer":', '"tok0"}'] })
      const answer = await ollama.chat({ model: chat, messages, format })
      assert.equal(typeof JSON.parse(answer.message.content).answer, 'string')
      const { body } = (isNative ? fake : cloud).calls.at(-1) ?? {}
      const schema = isNative
        ? { format }
        : { response_format: { json_schema: { schema: format } } }
      assert.partialDeepStrictEqual(body, schema)
    })

    test('a generation is one, with a suffix it fills in the middle', async () => {
      const asked = { model: chat, prompt: 'Why?', system: 'Be short.' }
      const answer = await ollama.generate(asked)
      assert.equal(answer.response, fakeText(5))
      const parts = await allOf(await ollama.generate({ ...asked, stream: true }))
      assert.equal(parts.map(({ response }) => response).join(''), fakeText(5))

      const fill = { model: code, prompt: 'def add(a, b):\n', suffix: '\n  return c' }
      assert.equal((await ollama.generate(fill)).response, fakeText(5))
      const { prompt, suffix } = fill
      const { body } = (isNative ? fake : cloud).calls.at(-1) ?? {}
      assert.partialDeepStrictEqual(body, { prompt, suffix })
    })

    test('embeddings are vectors, of a list or of the older single prompt', async () => {
      const input = ['first text', 'second, longer text']
      const answer = await ollama.embed({ model: embed, input })
      assert.equal(answer.embeddings.length, 2)
      assert.notDeepEqual(answer.embeddings[0], answer.embeddings[1])
      assert.equal(answer.prompt_eval_count, 5)
      if (isNative) return
      const older = await ollama.embeddings({ model: embed, prompt: 'first text' })
      assert.deepEqual(older.embedding, answer.embeddings[0])
    })

    test('a model that is only to be loaded is, without a call upstream', async () => {
      const { calls } = isNative ? fake : cloud
      const before = calls.length
      const loaded = await ollama.generate({ model: chat, prompt: '' })
      assert.equal(loaded.done_reason, 'load')
      assert.equal((await ollama.chat({ model: chat, keep_alive: 0 })).done_reason, 'unload')
      assert.equal(calls.length, before)
      await assert.rejects(ollama.generate({ model: 'none', prompt: '' }), { status_code: 404 })
    })

    test('a client that leaves has its generation ended', async () => {
      const endless = { tokens: 100_000, tokenDelayMs: 5 }
      fake.setBehaviour(endless)
      cloud.setBehaviour(endless)
      const upstream = isNative ? fake : cloud
      const { aborted } = upstream.counts
      const stream = await ollama.chat({ model: chat, messages, stream: true })
      await assert.rejects(
        async () => {
          for await (const { message } of stream) if (message.content !== '') stream.abort()
        },
        { name: 'AbortError' },
      )
      await upstream.until((counts) => counts.aborted > aborted)
    })

    test('a stream that breaks says so, behind what came before', async () => {
      fake.setBehaviour('cut-off')
      cloud.setBehaviour('cut-off')
      const stream = await ollama.chat({ model: chat, messages, stream: true })
      let text = ''
      await assert.rejects(
        async () => {
          for await (const { message } of stream) text += message.content
        },
        { message: /end|cut|broke|clos|lost/i },
      )
      assert.equal(text, fakeText(3))
    })
  })
}

test('a stream that waits for a slot says so in lines that add nothing', async () => {
  const { promise: gate, resolve: release } = Promise.withResolvers<void>()
  fake.setBehaviour({ gate })
  const { started } = fake.counts
  // An Ollama server has one slot unless the config says otherwise.
  const first = ollama.chat({ model: 'local-chat', messages })
  await fake.until((counts) => counts.started > started)
  const stream = await ollama.chat({ model: 'local-chat', messages, stream: true })
  const waiting: unknown[] = []
  let text = ''
  for await (const part of stream) {
    if ('queue_position' in part) {
      waiting.push(part.queue_position)
      release()
    }
    text += part.message.content
  }
  assert.equal(waiting[0], 1)
  assert.equal(text, fakeText(5))
  assert.equal((await first).message.content, fakeText(5))
})

test('what an Ollama server counted is billed', async () => {
  const answer = await stack.client.post('/api/chat', { model: 'local-chat', messages })
  assert.match(answer.headers.get('content-type') ?? '', /^application\/x-ndjson/)
  const id = answer.headers.get('x-penstock-request-id') ?? ''
  const [row] = await stack.spend.attempts(id, 1)
  assert.partialDeepStrictEqual(row, { status: 'success', prompt_tokens: 3, completion_tokens: 5 })
})

test('the models are listed and shown, also by a name with the tag `latest`', async () => {
  const { models } = await ollama.list()
  assert.deepEqual(
    models.map(({ name }) => name),
    stack.config.groups,
  )
  assert.ok(models.every(({ digest }) => /^[0-9a-f]{64}$/.test(digest)))
  const shown = await ollama.show({ model: 'local-embed:latest' })
  assert.deepEqual(shown.capabilities, ['embedding'])
  assert.partialDeepStrictEqual(shown.model_info, { 'penstock.context_length': 2048 })
  assert.equal((await ollama.chat({ model: 'cloud-chat:latest', messages })).done, true)
  await assert.rejects(ollama.show({ model: 'none' }), { status_code: 404, message: /`none`/ })
  assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/)
})

test("errors are in Ollama's form, whatever refuses", async () => {
  const stranger = new Ollama({ host: stack.url })
  await assert.rejects(stranger.list(), { status_code: 401, message: /No API key/ })
  const bad = { model: 'local-chat', messages: [{ role: 'robot', content: 'x' }] }
  await assert.rejects(ollama.chat(bad), { status_code: 400, message: /messages\[0\]\.role/ })
  await assert.rejects(ollama.pull({ model: 'x' }), {
    status_code: 404,
    message: /no POST \/api\/pull/,
  })
  const context = { model: 'cloud-chat', prompt: 'x', context: [1, 2] }
  await assert.rejects(ollama.generate(context), { status_code: 400, message: /`context`/ })
  const heartbeat = await fetch(stack.url, { method: 'HEAD' })
  assert.equal(heartbeat.status, 200)
})

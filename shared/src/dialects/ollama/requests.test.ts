// The requests are those of Ollama's documentation (docs/api.md of ollama/ollama, "Generate a chat
// completion", "Generate a completion", "Generate Embeddings"), but for what each case adds.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PenstockError } from '../../contracts/errors.ts'
import { ollamaChat } from './chat.ts'
import { ollamaEmbed } from './embed.ts'
import { ollamaGenerate } from './generate.ts'
import { loadReply } from './load.ts'

const question = { role: 'user', content: 'why is the sky blue?' }
const pixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

function refusal(param: string) {
  return (error: unknown) => {
    assert.ok(error instanceof PenstockError)
    assert.deepEqual([error.code, error.info.param], ['invalid_request', param])
    return true
  }
}

describe('a chat', () => {
  const chat = (fields: object) =>
    ollamaChat.toCanonical({ model: 'llama3.2', messages: [question], ...fields })

  test('streams unless it is told not to', () => {
    const { operation, body } = chat({})
    assert.equal(operation, 'chat')
    assert.deepEqual(body, { model: 'llama3.2', stream: true, messages: [question] })
    assert.equal(chat({ stream: false }).body.stream, false)
  })

  test('has its options under their names, without those that only load a model', () => {
    const options = {
      seed: 101,
      temperature: 0,
      num_predict: 100,
      top_k: 20,
      top_p: 0.9,
      min_p: 0.1,
      repeat_penalty: 1.2,
      presence_penalty: 1.5,
      frequency_penalty: 1,
      stop: ['\n', 'user:'],
      num_ctx: 1024,
      num_gpu: 1,
      use_mmap: true,
    }
    const { model, messages, stream, ...rest } = chat({ options, keep_alive: '5m' }).body
    assert.deepEqual(rest, {
      seed: 101,
      temperature: 0,
      max_tokens: 100,
      top_k: 20,
      top_p: 0.9,
      min_p: 0.1,
      repetition_penalty: 1.2,
      presence_penalty: 1.5,
      frequency_penalty: 1,
      stop: ['\n', 'user:'],
    })
    assert.equal('max_tokens' in chat({ options: { num_predict: -1 } }).body, false)
  })

  test('asks for JSON, a schema, thinking and log probabilities as OpenAI does', () => {
    const schema = { type: 'object', properties: { age: { type: 'integer' } } }
    const { body } = chat({ format: schema, think: true, logprobs: true, top_logprobs: 3 })
    assert.partialDeepStrictEqual(body, {
      response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } },
      reasoning_effort: 'medium',
      logprobs: true,
      top_logprobs: 3,
    })
    assert.deepEqual(chat({ format: 'json' }).body.response_format, { type: 'json_object' })
    assert.equal('response_format' in chat({ format: '' }).body, false)
    const efforts = [false, 'low', 'high', 'max'].map((think) => chat({ think }).body)
    assert.deepEqual(
      efforts.map((one) => one.reasoning_effort),
      ['none', 'low', 'high', 'xhigh'],
    )
  })

  test('has its images as data URLs of their own kind', () => {
    const images = [pixel, '/9j/4AAQ', 'R0lGODlh', 'UklGRh4A']
    const { body } = chat({ messages: [{ ...question, images }] })
    const [message] = body.messages as { content: { image_url?: { url: string } }[] }[]
    const kinds = message?.content.map((part) => part.image_url?.url.slice(0, 16))
    const expected = [
      'data:image/png;b',
      'data:image/jpeg;',
      'data:image/gif;b',
      'data:image/webp;',
    ]
    assert.deepEqual(kinds, [undefined, ...expected])
    assert.deepEqual(message?.content[0], { type: 'text', text: question.content })
  })

  test('gives each tool call an id, and each result that of the call it answers', () => {
    const call = (name: string, given: object, id?: string) => ({
      ...(id === undefined ? {} : { id }),
      function: { name, arguments: given },
    })
    const messages = [
      question,
      {
        role: 'assistant',
        content: '',
        thinking: 'Two cities.',
        tool_calls: [
          call('get_weather', { city: 'Tokyo' }),
          call('get_time', { city: 'Tokyo' }),
          call('get_weather', { city: 'Paris' }, 'own-id'),
        ],
      },
      { role: 'tool', tool_name: 'get_time', content: 'noon' },
      { role: 'tool', tool_name: 'get_weather', content: 'rain' },
      { role: 'tool', tool_call_id: 'own-id', content: 'sun' },
    ]
    const tools = [{ type: 'function', function: { name: 'get_weather' } }]
    const { body } = chat({ messages, tools })
    assert.deepEqual(body.tools, tools)
    const [, asked, ...results] = body.messages as Record<string, unknown>[]
    assert.deepEqual(asked, {
      role: 'assistant',
      content: null,
      reasoning_content: 'Two cities.',
      tool_calls: [
        ['call_1_0', 'get_weather', '{"city":"Tokyo"}'],
        ['call_1_1', 'get_time', '{"city":"Tokyo"}'],
        ['own-id', 'get_weather', '{"city":"Paris"}'],
      ].map(([id, name, json]) => ({ id, type: 'function', function: { name, arguments: json } })),
    })
    assert.deepEqual(
      results.map((one) => [one.tool_call_id, one.content]),
      [
        ['call_1_1', 'noon'],
        ['call_1_0', 'rain'],
        ['own-id', 'sun'],
      ],
    )
  })

  test('that is none is refused, with the place of the fault as the client knows it', () => {
    assert.throws(() => chat({ messages: [{ role: 'robot' }] }), refusal('messages[0].role'))
    assert.throws(() => chat({ options: { temperature: 'hot' } }), refusal('options.temperature'))
    assert.throws(() => chat({ think: 'much' }), refusal('think'))
    assert.throws(() => chat({ format: 'yaml' }), refusal('format'))
    assert.throws(() => ollamaChat.toCanonical({ messages: [question] }), refusal('model'))
  })
})

describe('a generation', () => {
  const generate = (fields: object) => ollamaGenerate.toCanonical({ model: 'codellama', ...fields })

  test('is a chat of one message, since its prompt goes through the chat template', () => {
    const asked = generate({ prompt: 'Why?', system: 'Be short.', images: [pixel], stream: false })
    assert.deepEqual(asked, {
      operation: 'chat',
      body: {
        model: 'codellama',
        stream: false,
        messages: [
          { role: 'system', content: 'Be short.' },
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Why?' },
              { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
            ],
          },
        ],
      },
    })
  })

  test('is a completion where it is raw or has a suffix', () => {
    const fim = generate({ prompt: 'def compute_gcd(a, b):', suffix: '    return result' })
    assert.equal(fim.operation, 'completion')
    assert.partialDeepStrictEqual(fim.body, {
      prompt: 'def compute_gcd(a, b):',
      suffix: '    return result',
    })
    const raw = generate({ prompt: '[INST] why? [/INST]', raw: true, logprobs: true })
    assert.deepEqual(raw, {
      operation: 'completion',
      body: { model: 'codellama', stream: true, prompt: '[INST] why? [/INST]' },
    })
    assert.throws(() => generate({ prompt: 'x', raw: true, system: 'y' }), refusal('raw'))
  })

  test('says what only an Ollama server can do', () => {
    const told = (fields: object) => ollamaGenerate.untranslatable?.({ prompt: 'x', ...fields })
    assert.equal(told({ context: [1, 2, 3] })?.param, 'context')
    assert.equal(told({ template: '{{ .Prompt }}' })?.param, 'template')
    assert.equal(told({ context: [], template: '' }), null)
  })
})

test('embeddings are asked for as numbers, by one text, a list or the older prompt', () => {
  const embed = (fields: object) => ollamaEmbed.toCanonical({ model: 'all-minilm', ...fields }).body
  const form = { model: 'all-minilm', encoding_format: 'float' }
  assert.deepEqual(embed({ input: 'Why?' }), { ...form, input: 'Why?' })
  assert.deepEqual(embed({ input: ['a', 'b'], dimensions: 3 }), {
    ...form,
    input: ['a', 'b'],
    dimensions: 3,
  })
  assert.deepEqual(embed({ prompt: 'Why?' }), { ...form, input: 'Why?' })
  assert.throws(() => embed({}), refusal('input'))
})

test('a request with nothing to answer loads or unloads a model', () => {
  const model = 'llama3.2'
  const loaded = { model, done: true, done_reason: 'load' }
  assert.partialDeepStrictEqual(loadReply('ollama-generate', { model }), {
    ...loaded,
    response: '',
  })
  assert.partialDeepStrictEqual(loadReply('ollama-chat', { model, messages: [] }), loaded)
  const unload = { model, messages: [], keep_alive: 0 }
  assert.equal(loadReply('ollama-chat', unload)?.done_reason, 'unload')
  assert.equal(loadReply('ollama-generate', { model, prompt: 'Why?' }), null)
  assert.equal(loadReply('ollama-chat', { model, messages: [question] }), null)
  assert.equal(loadReply('ollama-chat', { model, messages: 'hello' }), null)
})

// The unmodified Anthropic SDK against Penstock: over a local model, whose answers are translated, and
// over Anthropic itself, whose bytes go through as they are.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { anthropicFailure, startFakeAnthropic } from '../fakes/anthropic.ts'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import type { FakeUpstream } from '../fakes/upstream-server.ts'
import { fakeText } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const masterKey = 'sk-1234'
const messages = [{ role: 'user' as const, content: 'Say ten words' }]
const weatherTool = {
  name: 'get_weather',
  description: 'The weather in a city',
  input_schema: {
    type: 'object' as const,
    properties: { city: { type: 'string' } },
    required: ['city'],
  },
}
const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

let servers: Servers
let stack: Stack
let ollama: FakeOllama
let cloud: FakeUpstream
let anthropic: Anthropic

before(async () => {
  servers = await startServers()
  ollama = await startFakeOllama({ models: ['llama3.2'] })
  cloud = await startFakeAnthropic({ apiKey: 'sk-upstream' })
  const inCloud = { api_base: cloud.url, api_key: 'sk-upstream' }
  const model = (model_name: string, litellm_params: object) => ({ model_name, litellm_params })
  stack = await startStack({
    servers,
    config: {
      model_list: [
        model('local', { model: 'ollama_chat/llama3.2', api_base: ollama.url }),
        model('claude', { model: 'anthropic/claude-sonnet-4-5', ...inCloud }),
        model('backed', { model: 'anthropic/claude-sonnet-4-5', ...inCloud }),
      ],
      router_settings: { num_retries: 0, fallbacks: [{ backed: ['local'] }] },
      general_settings: { master_key: masterKey },
    },
  })
  anthropic = new Anthropic({ apiKey: masterKey, baseURL: stack.url, maxRetries: 0 })
})
after(async () => {
  await stack.close()
  await Promise.all([ollama.close(), cloud.close(), servers.close()])
})
beforeEach(() => {
  ollama.setBehaviour('normal')
  cloud.setBehaviour({})
})

for (const model of ['local', 'claude']) {
  describe(`over ${model === 'local' ? 'Ollama' : 'Anthropic'}`, () => {
    const bodyOf = () => JSON.stringify((model === 'local' ? ollama : cloud).calls.at(-1)?.body)

    test('a message is answered, with its usage', async () => {
      const answer = await anthropic.messages.create({ model, messages, max_tokens: 64 })
      assert.match(answer.id, /^msg_/)
      assert.deepEqual(
        answer.content.map((block) => block.type === 'text' && block.text),
        [fakeText(5)],
      )
      assert.partialDeepStrictEqual(answer, { type: 'message', role: 'assistant' })
      assert.partialDeepStrictEqual(answer, { stop_reason: 'end_turn', stop_sequence: null })
      assert.partialDeepStrictEqual(answer.usage, { input_tokens: 3, output_tokens: 5 })
      assert.ok(answer._request_id)
    })

    test('a stream has the events of the API in their order, and the usage at its end', async () => {
      const stream = await anthropic.messages.create({
        model,
        messages,
        max_tokens: 3,
        stream: true,
      })
      const types: string[] = []
      let text = ''
      let usage: Anthropic.MessageDeltaUsage | null = null
      for await (const event of stream) {
        if (event.type !== types.at(-1)) types.push(event.type)
        if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') {
          text += event.delta.text
        }
        if (event.type !== 'message_delta') continue
        usage = event.usage
        assert.equal(event.delta.stop_reason, 'max_tokens')
      }
      assert.deepEqual(types, [
        'message_start',
        'content_block_start',
        'content_block_delta',
        'content_block_stop',
        'message_delta',
        'message_stop',
      ])
      assert.equal(text, fakeText(3))
      assert.partialDeepStrictEqual(usage, { input_tokens: 3, output_tokens: 3 })
    })

    for (const stream of [false, true]) {
      const how = stream ? 'streamed' : 'whole'
      test(`a tool is asked for, answered with a picture and used (${how})`, async () => {
        const calls = [{ name: 'get_weather', arguments: { city: 'Paris' } }]
        const said = { content: ['It is', ' sunny'] }
        const isAnswered = (body: object) => /sunny, 21 degrees/.test(JSON.stringify(body))
        ollama.setBehaviour(({ body }) =>
          isAnswered(body) ? said : { toolCalls: calls, content: [] },
        )
        cloud.setBehaviour(({ body }) => (isAnswered(body) ? said : { toolCalls: calls }))
        const ask = (turns: Anthropic.MessageParam[]) => {
          const tools = [weatherTool]
          const request = { model, messages: turns, max_tokens: 64, tools }
          return stream
            ? anthropic.messages.stream(request).finalMessage()
            : anthropic.messages.create(request)
        }
        const asked = await ask(messages)
        assert.equal(asked.stop_reason, 'tool_use')
        const call = asked.content.find(({ type }) => type === 'tool_use')
        assert.ok(call?.type === 'tool_use')
        assert.deepEqual(call.input, { city: 'Paris' })
        const source = { type: 'base64' as const, media_type: 'image/png' as const, data: png }
        const answered = await ask([
          ...messages,
          { role: 'assistant', content: asked.content },
          {
            role: 'user',
            content: [
              {
                type: 'tool_result',
                tool_use_id: call.id,
                content: [
                  { type: 'text', text: 'sunny, 21 degrees' },
                  { type: 'image', source },
                ],
              },
            ],
          },
        ])
        assert.equal(answered.stop_reason, 'end_turn')
        assert.partialDeepStrictEqual(answered.content, [{ type: 'text', text: 'It is sunny' }])
        assert.ok(bodyOf().includes(png))
      })
    }

    test('thinking is shown to a client that asks for it, and to no other', async () => {
      ollama.setBehaviour({ thinking: 2 })
      cloud.setBehaviour(({ body }) => ({ reasoning: body.thinking === undefined ? 0 : 2 }))
      const request = { model, messages, max_tokens: 2_000 }
      const thinking = { type: 'enabled' as const, budget_tokens: 1_024 }
      const plain = await anthropic.messages.create(request)
      assert.deepEqual(
        plain.content.map(({ type }) => type),
        ['text'],
      )
      const runner = anthropic.messages.stream({ ...request, thinking })
      const whole = await runner.finalMessage()
      assert.partialDeepStrictEqual(whole.content, [
        { type: 'thinking', thinking: 'think0 think1' },
        { type: 'text', text: fakeText(5) },
      ])
    })

    test('an agent with system blocks, caches, betas and many tools is served', async () => {
      // As Claude Code asks: docs.claude.com, "LLM gateway configuration".
      const ephemeral = { type: 'ephemeral' as const }
      const agent = new Anthropic({
        apiKey: null,
        authToken: masterKey,
        baseURL: stack.url,
        maxRetries: 0,
        defaultHeaders: { 'anthropic-beta': 'interleaved-thinking-2025-05-14' },
      })
      const runner = agent.beta.messages.stream({
        model,
        max_tokens: 32_000,
        temperature: 1,
        betas: ['claude-code-20250219'],
        system: [
          { type: 'text', text: 'You are an agent.', cache_control: ephemeral },
          { type: 'text', text: 'Environment: a test.', cache_control: ephemeral },
        ],
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: '<system-reminder>be brief</system-reminder>' },
              { type: 'text', text: 'hello', cache_control: ephemeral },
            ],
          },
        ],
        tools: Array.from({ length: 20 }, (_, i) => ({ ...weatherTool, name: `Tool${i}` })),
        metadata: { user_id: 'user_abc_account__session_def' },
        thinking: { type: 'adaptive' },
        context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] },
      })
      assert.equal(await runner.finalText(), fakeText(5))
      assert.match(bodyOf(), /You are an agent/)
      assert.match(bodyOf(), /Tool19/)
      assert.equal(bodyOf().includes('cache_control'), model === 'claude')
    })

    test('errors are those of the API, by their classes', async () => {
      const create = (more: object) =>
        anthropic.messages.create({ model, messages, max_tokens: 64, ...more })
      await assert.rejects(create({ model: 'nothing' }), (error) => {
        assert.ok(error instanceof Anthropic.NotFoundError)
        assert.equal(error.type, 'not_found_error')
        return true
      })
      await assert.rejects(create({ max_tokens: 0 }), (error) => {
        assert.ok(error instanceof Anthropic.BadRequestError)
        assert.equal(error.type, 'invalid_request_error')
        assert.match(error.message, /max_tokens/)
        return true
      })
      const stranger = new Anthropic({ apiKey: 'sk-no', baseURL: stack.url, maxRetries: 0 })
      const asked = stranger.messages.create({ model, messages, max_tokens: 64 })
      await assert.rejects(asked, Anthropic.AuthenticationError)
    })

    test('a failure inside a stream is its last event', async () => {
      ollama.setBehaviour({ fault: { kind: 'error-line', afterTokens: 2, message: 'crashed' } })
      const error = { type: 'overloaded_error', message: 'Overloaded' }
      cloud.setBehaviour({ fault: { kind: 'error-event', afterTokens: 2, error } })
      let text = ''
      const runner = anthropic.messages.stream({ model, messages, max_tokens: 64 })
      runner.on('text', (piece) => {
        text += piece
      })
      await assert.rejects(runner.finalMessage(), Anthropic.APIError)
      assert.equal(text, fakeText(2))
    })

    test('a refusal of the upstream keeps its status and class', async () => {
      const body = JSON.stringify({ error: 'server busy, please try again.' })
      ollama.setBehaviour({ fault: { kind: 'status', status: 503, body } })
      cloud.setBehaviour({ fault: anthropicFailure(529, 'overloaded_error', 'Overloaded') })
      for (const stream of [false, true]) {
        const asked = anthropic.messages.create({ model, messages, max_tokens: 64, stream })
        await assert.rejects(asked, (error) => {
          assert.ok(error instanceof Anthropic.InternalServerError, String(error))
          assert.equal(error.type, 'overloaded_error')
          return true
        })
      }
    })

    test('a client that leaves takes the upstream call with it, and pays for what it saw', async () => {
      const fault = { kind: 'stall' as const, afterTokens: 3 }
      ollama.setBehaviour({ fault })
      cloud.setBehaviour({ fault })
      const upstream = model === 'local' ? ollama : cloud
      const { aborted } = upstream.counts
      const request = { model, messages, max_tokens: 64, stream: true } as const
      const { data, response } = await anthropic.messages.create(request).withResponse()
      const id = response.headers.get('x-penstock-request-id') ?? assert.fail()
      let text = ''
      for await (const event of data) {
        if (event.type !== 'content_block_delta' || event.delta.type !== 'text_delta') continue
        text += event.delta.text
        if (text === fakeText(3)) break
      }
      await upstream.until((counts) => counts.aborted === aborted + 1)
      const [row] = await stack.spend.attempts(id, 1)
      assert.equal(row?.status, 'cancelled')
      assert.ok(Number(row?.completion_tokens) >= 3, JSON.stringify(row))
    })

    test("a request's tokens are counted without asking the model", async () => {
      const before = (model === 'local' ? ollama : cloud).calls.length
      const short = await anthropic.messages.countTokens({ model, messages })
      const long = await anthropic.messages.countTokens({
        model,
        system: 'Be brief. '.repeat(100),
        messages,
        tools: [weatherTool],
      })
      assert.ok(short.input_tokens > 3 && short.input_tokens < 30, String(short.input_tokens))
      assert.ok(long.input_tokens > short.input_tokens + 200, String(long.input_tokens))
      assert.equal((model === 'local' ? ollama : cloud).calls.length, before)
    })
  })
}

describe('what goes through untranslated', () => {
  const sameIds = (text: string) => text.replaceAll(/msg_fake\d+/g, 'msg_fake')
  const ask = async (url: string, key: string, more: object) => {
    const headers = { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' }
    const response = await fetch(`${url}/v1/messages?beta=true`, {
      method: 'POST',
      headers: { ...headers, 'x-api-key': key, 'anthropic-beta': 'one-2025-01-01,two-2025-02-02' },
      body: JSON.stringify({ max_tokens: 64, messages, ...more }),
    })
    return sameIds(await response.text())
  }

  for (const stream of [false, true]) {
    for (const chunking of ['events', 'byte'] as const) {
      test(`is Anthropic's own bytes (stream: ${stream}, ${chunking})`, async () => {
        cloud.setBehaviour({ chunking, reasoning: 2, cachedTokens: 1, content: ['é', '漢 字'] })
        const direct = await ask(cloud.url, 'sk-upstream', { model: 'claude-sonnet-4-5', stream })
        assert.equal(await ask(stack.url, masterKey, { model: 'claude', stream }), direct)
        assert.match(direct, /漢 字/)
        const { headers, body } = cloud.calls.at(-1) ?? assert.fail()
        assert.equal(headers['anthropic-beta'], 'one-2025-01-01,two-2025-02-02')
        assert.equal(body.model, 'claude-sonnet-4-5')
      })
    }
  }

  test('is billed by the counts in it, or by its text where it has none', async () => {
    const usageOf = async (behaviour: Parameters<typeof cloud.setBehaviour>[0]) => {
      cloud.setBehaviour(behaviour)
      const request = { model: 'claude', messages, max_tokens: 64, stream: true } as const
      const { data, response } = await anthropic.messages.create(request).withResponse()
      for await (const { type } of data) assert.ok(type)
      const id = response.headers.get('x-penstock-request-id') ?? assert.fail()
      const [row] = await stack.spend.attempts(id, 1)
      return row ?? assert.fail()
    }
    assert.partialDeepStrictEqual(await usageOf({ cachedTokens: 2 }), {
      prompt_tokens: 3,
      completion_tokens: 5,
    })
    const counted = await usageOf({ usage: false })
    assert.ok(Number(counted.completion_tokens) >= 5, JSON.stringify(counted))
    assert.ok(Number(counted.prompt_tokens) > 3)
  })

  test('may still be translated, where another model takes over', async () => {
    cloud.setBehaviour({ fault: anthropicFailure(529, 'overloaded_error', 'Overloaded') })
    const request = { model: 'backed', messages, max_tokens: 64 }
    const whole = await anthropic.messages.create(request)
    const streamed = await anthropic.messages.stream(request).finalMessage()
    for (const { content } of [whole, streamed]) {
      assert.partialDeepStrictEqual(content, [{ type: 'text', text: fakeText(5) }])
    }
  })

  test('can be a server tool, which no other model has', async () => {
    const tools = [{ type: 'web_search_20250305' as const, name: 'web_search' as const }]
    const asked = { messages, max_tokens: 64, tools }
    await anthropic.messages.create({ ...asked, model: 'claude' })
    assert.deepEqual(cloud.calls.at(-1)?.body.tools, tools)
    await assert.rejects(anthropic.messages.create({ ...asked, model: 'local' }), (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError)
      assert.match(error.message, /web_search_20250305/)
      return true
    })
  })
})

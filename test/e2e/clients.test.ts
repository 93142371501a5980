// Unmodified client libraries over a local model: each makes a tool round trip and reads a stream, as
// its users do. (Those with a dialect of their own have a file of their own.)
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { type BaseMessage, HumanMessage, ToolMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { embedMany, generateObject, generateText, isStepCount, streamText, tool } from 'ai'
import OpenAI, { AzureOpenAI } from 'openai'
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod'
import { z } from 'zod'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { allOf } from '../harness/all-of.ts'
import { fakeText } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const apiKey = 'sk-1234'
const model = 'local'
const question = 'Is it sunny in Paris?'
const cityOnly = z.object({ city: z.string().describe('Its name') })
/** The fake model's answer where a schema is asked for: the text in its only field. */
const answerOnly = z.object({ answer: z.string() })
const about = { name: 'get_weather', description: 'The weather in a city' }
const sunny = 'sunny, 21 degrees'

let servers: Servers
let stack: Stack
let ollama: FakeOllama
let baseURL: string

before(async () => {
  servers = await startServers()
  ollama = await startFakeOllama({ models: ['llama3.2', 'nomic-embed-text'] })
  const served = (name: string) => ({ model: `ollama_chat/${name}`, api_base: ollama.url })
  stack = await startStack({
    servers,
    config: {
      model_list: [
        { model_name: model, litellm_params: served('llama3.2') },
        { model_name: 'embed', litellm_params: served('nomic-embed-text') },
      ],
      general_settings: { master_key: apiKey },
    },
  })
  baseURL = `${stack.url}/v1`
})
after(async () => {
  await stack.close()
  await Promise.all([ollama.close(), servers.close()])
})
beforeEach(() => ollama.setBehaviour('normal'))

/** The model asks for the tool, and once it has its result it says so. */
function asksForWeather(): void {
  ollama.setBehaviour(({ body }) =>
    JSON.stringify(body.messages).includes('"role":"tool"')
      ? { content: ['It is', ' sunny'] }
      : { content: [], toolCalls: [{ name: about.name, arguments: { city: 'Paris' } }] },
  )
}

function assertToolWasUsed(asked: readonly unknown[], answer: string): void {
  assert.deepEqual(asked, [{ city: 'Paris' }])
  assert.equal(answer, 'It is sunny')
  assert.match(JSON.stringify(ollama.calls.at(-1)?.body), new RegExp(sunny))
}

describe('openai', () => {
  const messages = [{ role: 'user' as const, content: question }]
  const client = () => new OpenAI({ apiKey, baseURL, maxRetries: 0 })

  test('parses a structured answer, whole and from the stream helper', async () => {
    const response_format = zodResponseFormat(answerOnly, 'answer')
    const request = { model, messages, response_format }
    const whole = await client().chat.completions.parse(request)
    assert.deepEqual(whole.choices[0]?.message.parsed, { answer: fakeText(5) })
    const final = await client().chat.completions.stream(request).finalChatCompletion()
    assert.deepEqual(final.choices[0]?.message.parsed, { answer: fakeText(5) })
    const { format } = ollama.calls.at(-1)?.body ?? {}
    assert.partialDeepStrictEqual(format, { type: 'object', required: ['answer'] })
  })

  for (const stream of [true, false] as const) {
    test(`runs a tool by itself (${stream ? 'streamed' : 'whole'})`, async () => {
      asksForWeather()
      const asked: unknown[] = []
      const weather = zodFunction({
        ...about,
        parameters: cityOnly,
        function: (given: z.infer<typeof cityOnly>) => {
          asked.push(given)
          return sunny
        },
      })
      const tools = [weather]
      const { completions } = client().chat
      const runner = stream
        ? completions.runTools({ model, messages, tools, stream })
        : completions.runTools({ model, messages, tools })
      assertToolWasUsed(asked, (await runner.finalContent()) ?? '')
    })
  }
})

describe("openai's client for Azure", () => {
  const messages = [{ role: 'user' as const, content: question }]

  test('reaches every model by its name in the path', async () => {
    const options = { endpoint: stack.url, apiKey, apiVersion: '2024-10-21', maxRetries: 0 }
    const azure = new AzureOpenAI(options)
    const chat = await azure.chat.completions.create({ model, messages })
    assert.equal(chat.choices[0]?.message.content, fakeText(5))
    const stream = await azure.completions.create({ model, prompt: 'x', stream: true })
    const pieces = (await allOf(stream)).map(({ choices }) => choices[0]?.text ?? '')
    assert.equal(pieces.join(''), fakeText(5))
    const embedded = await azure.embeddings.create({ model: 'embed', input: 'x' })
    assert.equal(embedded.data.length, 1)
    const unknown = azure.chat.completions.create({ model: 'none', messages })
    await assert.rejects(unknown, OpenAI.NotFoundError)
  })

  test('is served by the path, whatever its body names; so are the older engines', async () => {
    const path = `/openai/deployments/${model}/chat/completions?api-version=2024-10-21`
    const answer = await stack.client.post(path, { messages, model: 'other' })
    assert.equal(answer.headers.get('x-penstock-model-group'), model, answer.text)
    const code = await stack.client.post(`/v1/engines/${model}/completions`, { prompt: 'x' })
    assert.equal(code.status, 200, code.text)
    const unknown = await stack.client.post('/engines/no/model/chat/completions', { messages })
    assert.equal(unknown.status, 404)
    assert.match(unknown.text, /`no\/model`/)
  })
})

const providers = {
  '@ai-sdk/openai-compatible': () => {
    const abilities = { includeUsage: true, supportsStructuredOutputs: true }
    return createOpenAICompatible({ name: 'penstock', apiKey, baseURL, ...abilities })(model)
  },
  '@ai-sdk/openai': () => createOpenAI({ apiKey, baseURL }).chat(model),
}
for (const [name, languageModel] of Object.entries(providers)) {
  describe(`ai with ${name}`, () => {
    test('streams a text with its usage', async () => {
      const result = streamText({ model: languageModel(), prompt: question, maxRetries: 0 })
      const pieces = await allOf(result.textStream)
      assert.equal(pieces.length, 5)
      assert.equal(pieces.join(''), fakeText(5))
      assert.equal(await result.finishReason, 'stop')
      assert.equal((await result.usage).outputTokens, 5)
    })

    test('generates an object of a schema', async () => {
      const asked = { model: languageModel(), schema: answerOnly, prompt: question, maxRetries: 0 }
      const { object } = await generateObject(asked)
      assert.deepEqual(object, { answer: fakeText(5) })
    })

    for (const isStreamed of [true, false]) {
      test(`runs a tool and goes on (${isStreamed ? 'streamed' : 'whole'})`, async () => {
        asksForWeather()
        const asked: unknown[] = []
        const get_weather = tool({
          description: about.description,
          inputSchema: cityOnly,
          execute: (given) => {
            asked.push(given)
            return sunny
          },
        })
        const options = {
          model: languageModel(),
          tools: { get_weather },
          prompt: question,
          stopWhen: isStepCount(3),
          maxRetries: 0,
        }
        const { text } = isStreamed ? streamText(options) : await generateText(options)
        assertToolWasUsed(asked, await text)
      })
    }
  })
}

test('ai embeds many values', async () => {
  const provider = createOpenAICompatible({ name: 'penstock', apiKey, baseURL })
  const values = ['first text', 'second, longer text']
  const { embeddings } = await embedMany({ model: provider.embeddingModel('embed'), values })
  assert.equal(embeddings.length, 2)
})

describe('@langchain/openai', () => {
  const chat = () => new ChatOpenAI({ model, apiKey, configuration: { baseURL }, maxRetries: 0 })

  test('invokes and streams', async () => {
    const answer = await chat().invoke(question)
    assert.equal(answer.text, fakeText(5))
    assert.partialDeepStrictEqual(answer.usage_metadata, { output_tokens: 5 })
    const chunks = await allOf(await chat().stream(question))
    assert.equal(chunks.map(({ text }) => text).join(''), fakeText(5))
    const usage = chunks.findLast((chunk) => chunk.usage_metadata !== undefined)
    assert.partialDeepStrictEqual(usage?.usage_metadata, { output_tokens: 5 })
  })

  test('gives a structured answer', async () => {
    const structured = chat().withStructuredOutput(answerOnly, { method: 'jsonSchema' })
    assert.deepEqual(await structured.invoke(question), { answer: fakeText(5) })
  })

  for (const isStreamed of [true, false]) {
    test(`calls a tool and uses its result (${isStreamed ? 'streamed' : 'whole'})`, async () => {
      asksForWeather()
      const asked: unknown[] = []
      const weather = langchainTool(
        (given) => {
          asked.push(given)
          return sunny
        },
        { ...about, schema: cityOnly },
      )
      const bound = chat().bindTools([weather])
      const ask = async (messages: BaseMessage[]) => {
        if (!isStreamed) return bound.invoke(messages)
        const chunks = await allOf(await bound.stream(messages))
        return chunks.reduce((whole, chunk) => whole.concat(chunk))
      }
      const human = new HumanMessage(question)
      const first = await ask([human])
      const [call] = first.tool_calls ?? []
      assert.ok(call !== undefined)
      const result: unknown = await weather.invoke({ ...call, type: 'tool_call' })
      assert.ok(result instanceof ToolMessage)
      assertToolWasUsed(asked, (await ask([human, first, result])).text)
    })
  }

  test('embeds texts', async () => {
    const embedder = new OpenAIEmbeddings({ model: 'embed', apiKey, configuration: { baseURL } })
    assert.equal((await embedder.embedDocuments(['first', 'second'])).length, 2)
  })
})

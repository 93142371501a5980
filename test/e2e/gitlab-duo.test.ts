// GitLab Duo self-hosted models: infra/examples/gitlab-duo.yaml as it is shipped, and the requests that
// GitLab's AI gateway sends it through LiteLLM's client (gitlab-org/modelops/applied-ml/code-suggestions/
// ai-assist, ai_gateway/models/litellm.py: the fields, their values, the stop tokens).
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { startFakeAzure } from '../fakes/azure.ts'
import { startFakeBedrock } from '../fakes/bedrock.ts'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import type { FakeUpstream } from '../fakes/upstream-server.ts'
import { fakeText, streamed } from '../harness/answers.ts'
import { type LogRecord, recordLog } from '../harness/record-log.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const example = new URL('../../infra/examples/gitlab-duo.yaml', import.meta.url)
const fim = '<|fim_prefix|>def hello_world():\n    <|fim_suffix|>\n<|fim_middle|>'
const codeGemmaStops = ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>', '<|file_separator|>']
const suggestion = { max_tokens: 16, temperature: 0.95, top_p: 0.95, stream: false }
const chat = {
  messages: [{ role: 'user', content: 'Write a function' }],
  temperature: 0.2,
  top_p: 0.95,
  max_tokens: 2048,
  stop: [],
}

let servers: Servers
let stack: Stack
let ollama: FakeOllama
let vllm: FakeOpenAi
let azure: FakeUpstream
let bedrock: FakeUpstream
let log: LogRecord

before(async () => {
  const config = await readFile(example, 'utf8')
  const names = [...config.matchAll(/model: ollama\/(\S+)/g)].map(([, name = '']) => name)
  servers = await startServers()
  ollama = await startFakeOllama({ models: names })
  vllm = await startFakeOpenAi({ flavour: 'vllm' })
  azure = await startFakeAzure({ apiKey: 'azure-key' })
  bedrock = await startFakeBedrock()
  log = recordLog()
  // AWS's own chain of credentials reads the process's environment; a test file has its own process.
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' })
  stack = await startStack({
    servers,
    config,
    env: {
      OLLAMA_API_BASE: ollama.url,
      VLLM_API_BASE: vllm.url,
      AZURE_API_BASE: azure.url,
      AZURE_API_KEY: 'azure-key',
      AWS_REGION_NAME: 'eu-central-1',
      AWS_BEDROCK_RUNTIME_ENDPOINT: bedrock.url,
      LITELLM_MASTER_KEY: 'sk-gitlab',
    },
    loggerOf: (service) => log.loggerOf(service),
  })
})
after(async () => {
  await stack.close()
  const fakes = [ollama, vllm, azure, bedrock]
  await Promise.all([...fakes.map((fake) => fake.close()), servers.close()])
})

test('a suggestion is asked for with fill-in-the-middle tokens, which reach the model untouched', async () => {
  for (const model of ['codegemma', 'text-completion-openai/codegemma']) {
    // LiteLLM's client sends the prompt as a text or, in its older versions, as a list of one.
    for (const prompt of [fim, [fim]]) {
      const body = { ...suggestion, model, prompt, stop: codeGemmaStops }
      const answer = await stack.client.post('/v1/completions', body)
      assert.equal(answer.status, 200, answer.text)
      assert.partialDeepStrictEqual(answer.json, {
        object: 'text_completion',
        choices: [{ text: fakeText(5), index: 0, finish_reason: 'stop' }],
      })
      assert.partialDeepStrictEqual(ollama.calls.at(-1), {
        path: '/api/generate',
        body: {
          model: 'codegemma:7b-code',
          prompt: fim,
          raw: true,
          options: { num_predict: 16, temperature: 0.95, top_p: 0.95, stop: codeGemmaStops },
        },
      })
    }
  }
})

test('a suggestion with a suffix has it arranged by the model, and may be streamed', async () => {
  const stop = ['[INST]', '[/INST]', '[PREFIX]', '[MIDDLE]', '[SUFFIX]', '\n\n']
  const body = { ...suggestion, model: 'codestral', prompt: 'def f(', suffix: '\n', stop }
  const stream = await stack.client.open('/v1/completions', { ...body, stream: true })
  assert.equal(streamed(await stream.rest()).text, fakeText(5))
  assert.partialDeepStrictEqual(ollama.calls.at(-1)?.body, { prompt: 'def f(', suffix: '\n' })
})

test('every model of the example answers, for completion or for chat, where it is served', async () => {
  const completing = ['codestral', 'codegemma_2b', 'codegemma', 'codellama_13b_code']
  for (const model of [...completing, 'deepseekcoder_base', 'mistral', 'mixtral']) {
    const answer = await stack.client.post('/v1/completions', { ...suggestion, model, prompt: fim })
    assert.equal(answer.status, 200, `${model}: ${answer.text}`)
  }
  for (const model of stack.config.groups) {
    const answer = await stack.client.post('/v1/chat/completions', { ...chat, model })
    assert.equal(answer.status, 200, `${model}: ${answer.text}`)
    const open = await stack.client.open('/v1/chat/completions', { ...chat, model, stream: true })
    const { text, dones } = streamed(await open.rest())
    assert.deepEqual([text, dones], [fakeText(5), 1], model)
  }
  const claude = bedrock.calls.map(({ path }) => decodeURIComponent(path))
  assert.ok(claude.some((path) => path.includes('anthropic.claude-3-5-sonnet-20240620-v1:0')))
  assert.ok(azure.calls.some(({ path }) => path.includes('/deployments/gpt-35-turbo/')))
  assert.equal(vllm.calls.at(-1)?.body.model, 'mistralai/Mixtral-8x22B-Instruct-v0.1')
})

test("GitLab's correlation id is in every line of a request, to the last one", async () => {
  for (const headers of [
    { 'x-gitlab-correlation-id': '01H-from-gitlab', 'x-request-id': 'from-a-proxy' },
    { 'x-request-id': '01H-from-gitlab-2' },
  ]) {
    const [id = ''] = Object.values(headers)
    const body = { ...chat, model: 'mistral' }
    const answer = await stack.client.post('/v1/chat/completions', body, { headers })
    assert.equal(answer.headers.get('x-request-id'), id)
    for (const [service, msg] of [
      ['worker', 'attempt ended'],
      ['gateway', 'request answered'],
    ] as const) {
      await log.line(`${msg} of ${id}`, (line) => {
        return line.service === service && line.msg === msg && line.correlationId === id
      })
    }
    const [row] = await stack.spend.attempts(answer.headers.get('x-penstock-request-id') ?? '', 1)
    assert.equal(row?.status, 'success')
  }
})

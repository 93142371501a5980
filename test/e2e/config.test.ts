// What a config.yaml says is what happens: keys, aliases, wildcards, weights, prices, parameters. And
// what has no effect is said once.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { completionOf, errorOf, fakeText, requestIdOf, streamed } from '../harness/answers.ts'
import { eventually } from '../harness/eventually.ts'
import { startProcesses } from '../harness/processes.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const messages = [{ role: 'user', content: 'hello there' }]

let servers: Servers
let ollama: FakeOllama
let openai: FakeOpenAi
let second: FakeOpenAi
let stack: Stack

before(async () => {
  servers = await startServers()
  ollama = await startFakeOllama({ models: ['llama3.2', 'strict', 'lenient'] })
  openai = await startFakeOpenAi()
  second = await startFakeOpenAi()
})
after(async () => {
  await Promise.all([ollama.close(), openai.close(), second.close(), servers.close()])
})

function ask(model: string, more: object = {}) {
  return stack.client.post('/v1/chat/completions', { model, messages, ...more })
}

/** Which upstreams took how many of these requests. */
async function sharesOf(model: string, requests: number) {
  const before = [openai.counts.started, second.counts.started]
  for (let request = 0; request < requests; request++) completionOf(await ask(model))
  return [openai.counts.started - (before[0] ?? 0), second.counts.started - (before[1] ?? 0)]
}

describe('a config with everything that a request meets', () => {
  before(async () => {
    const cloud = { model: 'openai/gpt-4o-mini', api_base: openai.url }
    const other = { model: 'openai/gpt-4o-mini', api_base: second.url }
    const local = { api_base: ollama.url }
    stack = await startStack({
      servers,
      env: { GROUP_KEY: 'sk-of-the-group', MASTER: 'sk-from-the-environment' },
      config: {
        model_list: [
          {
            model_name: 'priced',
            litellm_params: cloud,
            model_info: { input_cost_per_token: 0.001, output_cost_per_token: 0.002 },
          },
          {
            model_name: 'keyed',
            litellm_params: {
              ...cloud,
              api_key: 'os.environ/GROUP_KEY',
              extra_headers: { 'x-team': 'blue' },
              temperature: 0.25,
            },
          },
          {
            model_name: 'from-section',
            litellm_params: { ...cloud, api_key: 'os.environ/SECTION_KEY' },
          },
          { model_name: 'heavy', litellm_params: { ...cloud, weight: 1_000_000_000 } },
          { model_name: 'heavy', litellm_params: { ...other, weight: 1e-9 } },
          { model_name: 'wild/*', litellm_params: { ...cloud, model: 'openai/*' } },
          { model_name: 'wild/gpt-*', litellm_params: { ...other, model: 'openai/gpt-*-turbo' } },
          { model_name: 'strict', litellm_params: { ...local, model: 'ollama_chat/strict' } },
          {
            model_name: 'lenient',
            litellm_params: { ...local, model: 'ollama_chat/lenient', drop_params: true },
          },
          {
            model_name: 'mocked',
            litellm_params: { model: 'openai/gpt-4o', mock_response: 'This is a mock' },
          },
          {
            model_name: 'mocked-limit',
            litellm_params: { model: 'gpt-4o', mock_response: 'litellm.RateLimitError' },
          },
        ],
        litellm_settings: { num_retries: 0, default_fallbacks: [] },
        router_settings: {
          model_group_alias: {
            'gpt-4': 'priced',
            hidden: { model: 'priced', hidden: true },
            tamed: 'wild/o3',
          },
          cooldown_time: 0,
        },
        general_settings: { master_key: 'os.environ/MASTER' },
        environment_variables: { SECTION_KEY: 'sk-of-the-section' },
      },
    })
  })
  after(() => stack.close())

  test('the master key is the one of the environment, and is needed', async () => {
    assert.equal(stack.config.masterKey, 'sk-from-the-environment')
    completionOf(await ask('mocked'))
    const body = { model: 'mocked', messages }
    for (const authorization of ['', 'Bearer os.environ/MASTER']) {
      const answer = await stack.client.post('/v1/chat/completions', body, {
        headers: { authorization },
      })
      assert.equal(answer.status, 401)
      errorOf(answer)
    }
  })

  test("a deployment's key, headers and defaults reach its upstream", async () => {
    completionOf(await ask('keyed'))
    const call = openai.calls.at(-1)
    assert.equal(call?.headers.authorization, 'Bearer sk-of-the-group')
    assert.equal(call?.headers['x-team'], 'blue')
    assert.equal(call?.body.temperature, 0.25)
    completionOf(await ask('keyed', { temperature: 1 }))
    assert.equal(openai.calls.at(-1)?.body.temperature, 1, "the client's own wins")
  })

  test("the master key and the client's headers do not reach an upstream", async () => {
    completionOf(await ask('priced'))
    assert.doesNotMatch(JSON.stringify(openai.calls.at(-1)), /sk-from-the-environment/)
  })

  test('environment_variables count as the environment', async () => {
    completionOf(await ask('from-section'))
    assert.equal(openai.calls.at(-1)?.headers.authorization, 'Bearer sk-of-the-section')
  })

  test('an alias is served by its group; a hidden one works and is not listed', async () => {
    for (const alias of ['gpt-4', 'hidden']) {
      const answer = await ask(alias)
      completionOf(answer)
      assert.equal(answer.headers.get('x-litellm-model-group'), 'priced')
      assert.equal(openai.calls.at(-1)?.body.model, 'gpt-4o-mini')
    }
    const { json } = await stack.client.get('/models')
    const ids = (json as { data: { id: string }[] }).data.map(({ id }) => id)
    assert.ok(ids.includes('gpt-4') && !ids.includes('hidden'))
    assert.ok(ids.every((id) => !id.includes('*')))
  })

  test('a wildcard group passes the name on; the more specific pattern wins', async () => {
    completionOf(await ask('wild/o4-mini'))
    assert.equal(openai.calls.at(-1)?.body.model, 'o4-mini')
    completionOf(await ask('wild/gpt-4'))
    assert.equal(second.calls.at(-1)?.body.model, 'gpt-4-turbo')
    completionOf(await ask('tamed'))
    assert.equal(openai.calls.at(-1)?.body.model, 'o3')
    const { status } = await stack.client.get('/v1/models/wild/anything/at/all')
    assert.equal(status, 200)
  })

  test('weights decide who is asked', async () => {
    assert.deepEqual(await sharesOf('heavy', 12), [12, 0])
  })

  test('what an upstream cannot do is refused, or dropped where drop_params says so', async () => {
    const answer = await ask('strict', { logit_bias: { 1: 1 } })
    assert.equal(answer.status, 400)
    assert.equal(errorOf(answer).param, 'logit_bias')
    completionOf(await ask('lenient', { logit_bias: { 1: 1 } }))
    assert.doesNotMatch(JSON.stringify(ollama.calls.at(-1)?.body), /logit_bias/)
  })

  test('a mock answers without its upstream, whole and streamed, or fails as it is told', async () => {
    const { started } = openai.counts
    assert.equal(completionOf(await ask('mocked')).text, 'This is a mock')
    const body = { model: 'mocked', messages, stream: true }
    const stream = await stack.client.open('/v1/chat/completions', body)
    assert.equal(streamed(await stream.rest()).text, 'This is a mock')
    assert.equal((await ask('mocked-limit')).status, 429)
    assert.equal(openai.counts.started, started)
  })

  test("model_info's prices are the ledger's, to the last digit", async () => {
    const answer = await ask('priced')
    const { usage } = completionOf(answer)
    const [row] = await stack.spend.attempts(requestIdOf(answer), 1)
    const expected = usage.prompt_tokens * 0.001 + usage.completion_tokens * 0.002
    assert.equal(row?.spend, expected)
    assert.equal(row?.cost_source, 'configured')
    assert.equal(row?.user, 'default_user_id')
    assert.equal(row?.api_key, 'master')
  })
})

describe('least-busy', () => {
  before(async () => {
    const cloud = { model: 'openai/gpt-4o-mini' }
    stack = await startStack({
      servers,
      config: {
        model_list: [
          { model_name: 'pair', litellm_params: { ...cloud, api_base: openai.url } },
          { model_name: 'pair', litellm_params: { ...cloud, api_base: second.url } },
        ],
        router_settings: { routing_strategy: 'least-busy' },
      },
    })
  })
  after(() => stack.close())

  test('an open gateway needs no key; work goes where less is under way', async () => {
    const gate = Promise.withResolvers<void>()
    openai.setBehaviour({ gate: gate.promise })
    second.setBehaviour({ gate: gate.promise })
    const before = [openai.counts.started, second.counts.started]
    const started = () => openai.counts.started + second.counts.started
    const first = started()
    const asked: ReturnType<typeof ask>[] = []
    for (let count = 1; count <= 10; count++) {
      asked.push(ask('pair'))
      // One after the other, so that each choice sees the one before it.
      await eventually('the call has begun', () => started() === first + count)
    }
    assert.deepEqual(
      [openai.counts.started, second.counts.started],
      before.map((count) => count + 5),
    )
    gate.resolve()
    for (const answer of await Promise.all(asked)) {
      assert.equal(completionOf(answer).text, fakeText(5))
    }
  })
})

test('what has no effect is named in one warning, once per process', async () => {
  const config = {
    model_list: [
      { model_name: 'lorem', litellm_params: { model: 'sim/lorem', turbo_boost: true } },
    ],
    litellm_settings: { success_callback: ['langfuse'], no_such_setting: 1 },
    general_settings: { another_unknown: 'x' },
  }
  const penstock = await startProcesses({ servers, config })
  const { written } = await penstock.startGateway()
  await penstock.close()
  const lines = written.filter((line) => line.includes('no_such_setting'))
  assert.equal(lines.length, 1)
  const { level, msg } = JSON.parse(lines[0] ?? '{}')
  assert.equal(level, 40)
  assert.match(msg, /litellm_settings\.no_such_setting/)
  assert.match(msg, /general_settings\.another_unknown/)
  assert.match(msg, /litellm_settings\.success_callback/)
})

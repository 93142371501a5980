// What is billed at another price than the normal one, through the whole of Penstock: the tier that
// served, a batch's lines, and cache writes for an hour. The client is told what the ledger says.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { json, startUpstream, type Upstream } from '@penstock/workers/providers/upstream-test-kit'
import { requestIdOf } from '../harness/answers.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'
import { batchModel, chatLine, createBatches } from './batch-setup.ts'

const masterKey = 'sk-master-0123456789'
const messages = [{ role: 'user', content: 'Hello!' }]
let servers: Servers
let upstream: Upstream
let stack: Stack

before(async () => {
  servers = await startServers()
  upstream = await startUpstream()
  const at = { api_base: upstream.origin, api_key: 'sk-1' }
  const model_info = {
    input_cost_per_token: 0.001,
    output_cost_per_token: 0.002,
    input_cost_per_token_priority: 0.003,
    output_cost_per_token_priority: 0.004,
    input_cost_per_token_batches: 0.0001,
    output_cost_per_token_batches: 0.0002,
  }
  const claude = { model: 'anthropic/claude-sonnet-4-5', ...at }
  stack = await startStack({
    servers,
    count: { batch: 1 },
    config: {
      model_list: [
        { model_name: batchModel, litellm_params: { model: 'openai/gpt-4o', ...at }, model_info },
        { model_name: 'claude', litellm_params: claude },
      ],
      general_settings: { master_key: masterKey },
    },
  })
})
after(async () => {
  await stack.close()
  await upstream.close()
  await servers.close()
})

function answers(reply: object): void {
  upstream.answers.length = 0
  upstream.answers.push(json(reply))
}

function servedIn(service_tier: string) {
  const message = { role: 'assistant', content: 'Hi.' }
  const usage = { prompt_tokens: 10, completion_tokens: 1, total_tokens: 11 }
  const choices = [{ index: 0, message, finish_reason: 'stop' }]
  return {
    id: 'c',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    choices,
    usage,
    service_tier,
  }
}

async function costOf(path: string, body: object) {
  const answer = await stack.client.post(path, body)
  assert.equal(answer.status, 200, answer.text)
  const [row] = await stack.spend.attempts(requestIdOf(answer), 1)
  assert.equal(answer.headers.get('x-penstock-response-cost'), row?.spend_usd)
  return [row?.spend_usd, row?.cost_source]
}

test('the tier that served is billed, not the one that was asked for', async () => {
  const asked = { model: batchModel, messages, service_tier: 'priority' }
  const path = '/v1/chat/completions'
  answers(servedIn('priority'))
  assert.deepEqual(await costOf(path, asked), ['0.034', 'configured'])
  answers(servedIn('default'))
  assert.deepEqual(await costOf(path, asked), ['0.012', 'configured'])
  // No price of that tier is known, and the row says so.
  answers(servedIn('flex'))
  assert.deepEqual(await costOf(path, asked), ['0.012', 'normal-tier'])
})

test('a line of a batch has the price for batches', async () => {
  answers(servedIn('default'))
  const batches = createBatches(stack.url, masterKey)
  const id = await batches.submit([chatLine('one')])
  assert.equal((await batches.ended(id)).status, 'completed')
  const [line] = (await batches.results(id)).output
  const [row] = await stack.spend.attempts(line?.response?.request_id ?? '', 1)
  assert.deepEqual([row?.spend_usd, row?.cost_source], ['0.0012', 'configured'])
})

test('cache writes for an hour cost more than those for five minutes', async () => {
  const usage = {
    input_tokens: 10,
    output_tokens: 1,
    cache_creation_input_tokens: 300,
    cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 },
  }
  const content = [{ type: 'text', text: 'Hi.' }]
  answers({ id: 'm', type: 'message', role: 'assistant', content, stop_reason: 'end_turn', usage })
  const asked = { model: 'claude', max_tokens: 5, messages }
  // 10 × 3 + 100 × 3.75 + 200 × 6 + 15, per million
  for (const path of ['/v1/messages', '/v1/chat/completions']) {
    assert.deepEqual(await costOf(path, asked), ['0.00162', 'price-table'])
  }
})

// Anthropic's batches by its unmodified SDK: create, poll, read the results, list, cancel, delete.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { failure } from '../fakes/openai-behaviour.ts'
import { eventually } from '../harness/eventually.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const masterKey = 'sk-1234'
let servers: Servers
let stack: Stack
let upstream: FakeOpenAi
let batches: Anthropic['messages']['batches']

before(async () => {
  servers = await startServers()
  upstream = await startFakeOpenAi()
  const litellm_params = { model: 'openai/gpt-4o-mini', api_base: upstream.url, api_key: 'sk-up' }
  stack = await startStack({
    servers,
    config: {
      model_list: [{ model_name: 'claude', litellm_params }],
      general_settings: { master_key: masterKey },
    },
    count: { batch: 1 },
  })
  const anthropic = new Anthropic({ apiKey: masterKey, baseURL: stack.url, maxRetries: 0 })
  batches = anthropic.messages.batches
})
after(async () => {
  await stack?.close()
  await upstream?.close()
  await servers?.close()
})

const request = (custom_id: string, content: string, model = 'claude') => ({
  custom_id,
  params: { model, max_tokens: 16, messages: [{ role: 'user' as const, content }] },
})
const none = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 }

async function ended(id: string) {
  const found: Anthropic.Messages.MessageBatch[] = []
  await eventually('the end of the batch', async () => {
    const batch = await batches.retrieve(id)
    found[0] = batch
    return batch.processing_status === 'ended'
  })
  assert.ok(found[0] !== undefined)
  return found[0]
}

async function resultsOf(id: string) {
  const results = new Map<string, Anthropic.Messages.MessageBatchResult>()
  for await (const { custom_id, result } of await batches.results(id)) {
    assert.ok(!results.has(custom_id))
    results.set(custom_id, result)
  }
  return results
}

test('a batch is answered request by request, in Anthropic’s own form, and can be deleted', async () => {
  upstream.setBehaviour(({ body }) =>
    JSON.stringify(body).includes('refuse')
      ? { fault: failure(400, { message: 'I refuse.' }) }
      : {},
  )
  const made = await batches.create({
    requests: [request('good', 'hello'), request('bad', 'refuse this')],
  })
  assert.equal(made.type, 'message_batch')
  assert.equal(made.processing_status, 'in_progress')
  assert.deepEqual(made.request_counts, { ...none, processing: 2 })
  assert.equal(made.results_url, null)
  assert.ok(Date.parse(made.expires_at) > Date.parse(made.created_at))

  const batch = await ended(made.id)
  assert.deepEqual(batch.request_counts, { ...none, succeeded: 1, errored: 1 })
  const results = await resultsOf(made.id)
  const good = results.get('good')
  assert.ok(good?.type === 'succeeded')
  assert.equal(good.message.type, 'message')
  const [block] = good.message.content
  assert.ok(block?.type === 'text')
  assert.match(block.text, /^tok0/)
  assert.ok(good.message.usage.output_tokens > 0)
  const bad = results.get('bad')
  assert.ok(bad?.type === 'errored')
  assert.equal(bad.error.type, 'error')
  assert.equal(bad.error.error.type, 'invalid_request_error')
  assert.match(bad.error.error.message, /I refuse/)

  const listed = await batches.list({ limit: 1 })
  assert.deepEqual(
    listed.data.map(({ id }) => id),
    [made.id],
  )
  // OpenAI's lists know nothing of it.
  assert.doesNotMatch((await stack.client.get('/v1/batches')).text, new RegExp(made.id.slice(3)))
  assert.deepEqual(await batches.delete(made.id), { id: made.id, type: 'message_batch_deleted' })
  await assert.rejects(batches.retrieve(made.id), Anthropic.NotFoundError)
})

test('a cancelled batch has a result for each of its requests', async () => {
  const held = Promise.withResolvers<void>()
  upstream.setBehaviour(({ body }) =>
    JSON.stringify(body).includes('stuck') ? { gate: held.promise } : {},
  )
  const requests = Array.from({ length: 20 }, (_, index) =>
    request(`r${index}`, index === 0 ? 'quick' : 'stuck'),
  )
  const { finished } = upstream.counts
  const made = await batches.create({ requests })
  await upstream.until((counts) => counts.finished > finished)
  await assert.rejects(batches.delete(made.id), Anthropic.BadRequestError)
  const cancelling = await batches.cancel(made.id)
  assert.notEqual(cancelling.processing_status, 'in_progress')
  assert.notEqual(cancelling.cancel_initiated_at, null)
  const { request_counts: counts } = await ended(made.id)
  held.resolve()
  const results = [...(await resultsOf(made.id)).values()]
  const having = (type: string) => results.filter((result) => result.type === type).length
  assert.equal(results.length, requests.length)
  assert.equal(having('canceled'), counts.canceled)
  assert.equal(having('succeeded'), counts.succeeded)
  assert.ok(counts.canceled >= 19)
  assert.equal(counts.canceled + counts.succeeded + counts.errored, requests.length)
  // Its files are its owner's to delete; the batch and the list it is in stay.
  const { error_file_id } = (await stack.client.get(`/v1/batches/${made.id.slice(3)}`)).json as {
    error_file_id: string
  }
  await stack.client.get(`/v1/files/${error_file_id}`, { method: 'DELETE' })
  const listed = await batches.list({ limit: 1 })
  assert.deepEqual(listed.data[0]?.request_counts, counts)
})

test('pages lead from the newest batch to the oldest, and back', async () => {
  upstream.setBehaviour({})
  const ids: string[] = []
  for (const name of ['first', 'second', 'third']) {
    ids.unshift((await batches.create({ requests: [request(name, name)] })).id)
  }
  const seen: string[] = []
  for await (const { id } of batches.list({ limit: 2 })) seen.push(id)
  assert.deepEqual(seen.slice(0, 3), ids)
  const [newest, , oldest] = ids
  const newer = await batches.list({ before_id: String(oldest), limit: 1 })
  assert.deepEqual(
    newer.data.map(({ id }) => id),
    [ids[1]],
  )
  assert.equal(newer.has_more, true)
  await ended(String(newest))
})

test('what is wrong with a request is told at once with its place, and nothing is made', async () => {
  const before = (await batches.list({ limit: 1 })).first_id
  const { max_tokens: _, ...unlimited } = request('a', 'hello').params
  const cases: [unknown[], RegExp][] = [
    [[request('a', 'hello'), request('a', 'again')], /requests\[1\]\.custom_id: `a` was taken/],
    [[request('a', 'hello', 'gpt-9')], /requests\[0\] \(`a`\): The model `gpt-9` does not exist/],
    [[request('no spaces', 'hello')], /requests\[0\]\.custom_id: expected 1 to 64/],
    [[{ custom_id: 'a', params: unlimited }], /requests\[0\] \(`a`\): .*max_tokens/],
    [[{ ...request('a', 'x'), params: { ...request('a', 'x').params, stream: true } }], /stream/],
    [[], /requests/],
  ]
  for (const [requests, expected] of cases) {
    const answer = await stack.client.post('/v1/messages/batches', { requests })
    assert.ok(answer.status === 400 || answer.status === 404, answer.text)
    assert.match(answer.text, /^\{"type":"error"/)
    assert.match(answer.text, expected)
  }
  assert.equal((await batches.list({ limit: 1 })).first_id, before)
  await assert.rejects(batches.retrieve('msgbatch_none'), Anthropic.NotFoundError)
})

// Answers that are given twice: from the cache that two gateways share in Redis, and to a repeat with the
// same Idempotency-Key. What counts is how often the model was asked.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, describe, test } from 'node:test'
import { type FakeOllama, startFakeOllama } from '../fakes/ollama.ts'
import { completionOf, errorOf, fakeText, requestIdOf } from '../harness/answers.ts'
import { type Client, createClient } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys, type Keys } from '../harness/keys.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

const masterKey = 'sk-master-0123456789'
const chat = '/v1/chat/completions'

let servers: Servers
let stack: Stack
let ollama: FakeOllama
let keys: Keys
let other: Client

before(async () => {
  servers = await startServers({ redis: true })
  ollama = await startFakeOllama({ models: ['llama3.2'] })
  const local = { model: 'ollama_chat/llama3.2', api_base: ollama.url }
  stack = await startStack({
    servers,
    count: { gateway: 2 },
    config: {
      model_list: [{ model_name: 'm', litellm_params: local }],
      general_settings: { master_key: masterKey },
      litellm_settings: { cache: true, cache_params: { type: 'redis' }, num_retries: 0 },
    },
  })
  other = createClient(stack.urls[1] ?? '', masterKey)
  keys = await createKeys(stack.client, stack.urls)
})
after(async () => {
  await keys.close()
  await other.close()
  await stack.close()
  await Promise.all([ollama.close(), servers.close()])
})
afterEach(() => ollama.setBehaviour('normal'))

/** A request that nobody has made before. */
function question(fields: object = {}) {
  return { model: 'm', messages: [{ role: 'user', content: randomUUID() }], ...fields }
}
const uncached = { cache: { 'no-cache': true, 'no-store': true } }
/** How often the model was asked since. */
const calls = () => ollama.counts.started

describe('the cache', () => {
  test('answers a second gateway with what the first was answered, at no cost, marked', async () => {
    const { model, messages } = question()
    const begun = calls()
    const first = await stack.client.post(chat, { model, messages, temperature: 0 })
    const again = await other.post(chat, { temperature: 0, messages, model, user: 'jane' })
    assert.equal(calls() - begun, 1)
    assert.equal(completionOf(again).text, fakeText(5))
    assert.equal(again.text, first.text)
    assert.equal(first.headers.get('x-penstock-cache'), 'miss')
    assert.equal(again.headers.get('x-penstock-cache'), 'hit')
    assert.equal(again.headers.get('x-litellm-cache-key'), first.headers.get('x-litellm-cache-key'))
    assert.equal(Number(again.headers.get('x-litellm-response-cost')), 0)
    const [row] = await stack.spend.attempts(requestIdOf(again), 1)
    assert.ok(row !== undefined)
    const { spend, total_tokens, status, request_tags, end_user, model_group } = row
    assert.deepEqual(
      { spend, total_tokens, status, request_tags, end_user, model_group },
      {
        spend: 0,
        total_tokens: 0,
        status: 'success',
        request_tags: ['cache-hit'],
        end_user: 'jane',
        model_group: 'm',
      },
    )
  })

  test('replays a stream as a stream, event by event', async () => {
    const body = question({ stream: true })
    const begun = calls()
    const first = await (await stack.client.open(chat, body)).rest()
    const again = await other.open(chat, body)
    assert.equal(again.headers.get('x-penstock-cache'), 'hit')
    assert.deepEqual(await again.rest(), first)
    assert.equal(first.at(-1), '[DONE]')
    assert.equal(calls() - begun, 1)
  })

  test('knows teams apart, and namespaces; the keys of one team share it', async () => {
    const team = async () => {
      const made = await stack.client.post('/team/new', {})
      return (made.json as { team_id: string }).team_id
    }
    const [one, two] = [await team(), await team()]
    const [a, b, c] = [
      await keys.make({ team_id: one }),
      await keys.make({ team_id: one }),
      await keys.make({ team_id: two }),
    ]
    const body = question()
    const seen = []
    for (const client of [a.clients[0], b.clients[1], c.clients[0], a.clients[0]]) {
      seen.push((await client?.post(chat, body))?.headers.get('x-penstock-cache'))
    }
    const elsewhere = await a.clients[0]?.post(chat, { ...body, cache: { namespace: 'n' } })
    seen.push(elsewhere?.headers.get('x-penstock-cache'))
    assert.deepEqual(seen, ['miss', 'hit', 'miss', 'hit', 'miss'])
  })

  test('lets equal requests that wait together go upstream once, though the first one leaves', async () => {
    const gate = Promise.withResolvers<void>()
    ollama.setBehaviour({ gate: gate.promise })
    const body = question()
    const begun = calls()
    const leaving = new AbortController()
    const first = stack.client.post(chat, body, { signal: leaving.signal })
    const left = assert.rejects(first, { name: 'AbortError' })
    await ollama.until(({ started }) => started === begun + 1)
    const waiting = [1, 2, 3].map(() => stack.client.post(chat, body))
    // Behind these: a request of the same gateway that is answered has passed them.
    await stack.client.get('/v1/models')
    leaving.abort()
    await left
    gate.resolve()
    for (const answer of await Promise.all(waiting)) {
      assert.equal(completionOf(answer).text, fakeText(5))
      assert.equal(answer.headers.get('x-penstock-cache'), 'hit')
    }
    assert.equal(calls() - begun, 1)
  })

  test('refuses a control that is none, by its path', async () => {
    const answer = await stack.client.post(chat, question({ cache: { ttl: 'long' } }))
    assert.equal(answer.status, 400)
    assert.equal(errorOf(answer).param, 'cache.ttl')
  })
})

describe('a repeat with the same Idempotency-Key', () => {
  const keyed = (key: string) => ({ headers: { 'idempotency-key': key } })

  test('gets the first answer through the other gateway, another request is refused', async () => {
    const options = keyed(randomUUID())
    for (const stream of [false, true]) {
      const body = question({ ...uncached, stream })
      const own = keyed(`${options.headers['idempotency-key']} ${stream}`)
      const begun = calls()
      const first = await stack.client.post(chat, body, own)
      const again = await other.post(chat, body, own)
      assert.equal(first.status, 200, first.text)
      assert.equal(again.text, first.text)
      assert.equal(again.headers.get('x-penstock-idempotent-replay'), 'true')
      assert.equal(first.headers.get('x-penstock-idempotent-replay'), null)
      const refused = await other.post(chat, question(uncached), own)
      assert.equal(refused.status, 422)
      assert.equal(errorOf(refused).param, 'idempotency-key')
      assert.equal(calls() - begun, 1)
    }
  })

  test('waits for the first one, which goes on although its client has left', async () => {
    const gate = Promise.withResolvers<void>()
    ollama.setBehaviour({ gate: gate.promise })
    const body = question(uncached)
    const options = keyed(randomUUID())
    const begun = calls()
    const leaving = new AbortController()
    const first = stack.client.post(chat, body, { ...options, signal: leaving.signal })
    const left = assert.rejects(first, { name: 'AbortError' })
    await ollama.until(({ started }) => started === begun + 1)
    leaving.abort()
    await left
    const waiting = [stack.client.post(chat, body, options), other.post(chat, body, options)]
    await stack.client.get('/v1/models')
    gate.resolve()
    for (const answer of await Promise.all(waiting)) {
      assert.equal(completionOf(answer).text, fakeText(5))
    }
    assert.equal(calls() - begun, 1)
  })

  test('runs where the first one generated nothing; each key of Penstock has its own', async () => {
    const options = keyed('the same for all')
    const body = question(uncached)
    ollama.setBehaviour('busy')
    const failed = await stack.client.post(chat, body, options)
    assert.equal(failed.status, 503, failed.text)
    ollama.setBehaviour('normal')
    const answer = await other.post(chat, body, options)
    assert.equal(answer.status, 200, answer.text)
    const key = await keys.make({})
    const begun = calls()
    const elsewhere = await key.clients[0]?.post(chat, question(uncached), options)
    assert.equal(elsewhere?.status, 200, elsewhere?.text)
    assert.equal(calls() - begun, 1)
  })
})

test('without Redis requests run as without a cache, and are cached again when it is back', async () => {
  await servers.redis?.stop()
  const body = question()
  for (const client of [stack.client, other]) {
    // Admins have no limits that Redis would have to count.
    const answer = await client.post(chat, body)
    assert.equal(answer.status, 200, answer.text)
    assert.equal(answer.headers.get('x-penstock-cache'), 'miss')
  }
  await servers.redis?.start()
  await eventually('a hit', async () => {
    const answer = await stack.client.post(chat, body)
    return answer.headers.get('x-penstock-cache') === 'hit'
  })
})

import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { createFakeBus } from '@penstock/shared/bus/bus-test-kit'
import type { ClaimCheck } from '@penstock/shared/bus/claim-check'
import { parseConfig } from '@penstock/shared/config/load'
import { anybody } from './auth.ts'
import { endUserOf, sessionOf, tagsWith } from './client-texts.ts'
import { createOffer } from './offer.ts'
import { createQueueHealth } from './queue-health.ts'
import { routingFacts } from './routing-facts.ts'
import { chatRequest, type KnownFields, parseRequest } from './schemas.ts'

const text = JSON.stringify({
  model_list: [{ model_name: '*', litellm_params: { model: 'openai/*' } }],
  router_settings: { timeout: 600 },
})
const { config } = parseConfig(text, {})
const request = (fields: object) =>
  parseRequest(chatRequest, {
    model: 'm',
    messages: [{ role: 'user', content: 'hello' }],
    ...fields,
  })
const facts = (fields: object, headers: IncomingMessage['headers'] = {}, settings = config) =>
  routingFacts({ headers } as IncomingMessage, request(fields), anybody, settings)

test('texts of a usual size are taken as they are', () => {
  const metadata = { tags: ['team:research', 'Zürich', 7, 'emoji 🙂'], session_id: 'abc' }
  const fields = request({ user: 'jane', metadata })
  assert.deepEqual(tagsWith([], fields, {}), ['team:research', 'Zürich', 'emoji 🙂'])
  assert.equal(sessionOf(fields), 'abc')
  assert.equal(endUserOf(fields, {}), 'jane')
})

test('number and length of what a client may send along are bounded', () => {
  const long = 'x'.repeat(950_000)
  const numbers = Array.from({ length: 100 }, (_, index) => String(index))
  const metadata = { tags: [long, ...numbers], session_id: long }
  const fields = request({ user: 'u'.repeat(1024), metadata })
  const tags = tagsWith([], fields, {})
  assert.equal(tags.length, 32)
  assert.equal(tags[0]?.length, 256)
  assert.equal(sessionOf(fields)?.length, 256)
  assert.equal(endUserOf(fields, {})?.length, 256)
  assert.equal(facts({ user: 'u'.repeat(1024) }).sharer.length, 'user:'.length + 256)
})

/** Different ones: equal ones count once. */
const tagsLike = (text: string) => Array.from({ length: 100 }, (_, index) => `${index}${text}`)

test('the tags of the key come before those of the request, each once', () => {
  const fields = request({ metadata: { tags: ['a', 'b'] } })
  assert.deepEqual(tagsWith(['b', 'c'], fields, {}), ['b', 'c', 'a'])
  assert.deepEqual(tagsWith(tagsLike('k'), fields, {}), tagsLike('k').slice(0, 32))
})

test("LiteLLM's headers name tags and the end user, too", () => {
  const fields = request({ user: 'jane', metadata: { tags: ['a'] } })
  const headers = { 'x-litellm-tags': 'b, a,,c d ', 'x-litellm-end-user-id': 'joe' }
  assert.deepEqual(tagsWith([], fields, headers), ['a', 'b', 'c d'])
  assert.deepEqual(tagsWith([], fields, { 'x-litellm-tags': tagsLike('').join() }).length, 32)
  assert.equal(endUserOf(fields, headers), 'joe')
  assert.equal(
    endUserOf(fields, { ...headers, 'x-litellm-customer-id': 'x'.repeat(300) })?.length,
    256,
  )
  assert.equal(facts({ user: 'jane' }, headers).sharer, 'user:joe')
})

test('the worst that a client can send leaves room in the envelope for a history', async () => {
  // Each of them takes six bytes in JSON, if nothing is done about it.
  for (const unit of ['\u0001', '\ud800', '\u20ac', '"']) {
    const most = unit.repeat(1024)
    const fields: KnownFields = request({
      model: unit.repeat(512),
      user: most,
      messages: Array.from({ length: 100 }, () => ({ role: 'user', content: most })),
      metadata: { tags: tagsLike(most), session_id: most },
    })
    const router = { ...config.router, strategy: 'prefix-affinity' as const }
    const fake = createFakeBus()
    const offer = createOffer({
      bus: fake.bus,
      claims: { inlineLimit: 1_000 } as ClaimCheck,
      gatewayId: 'g'.repeat(36),
      health: createQueueHealth(),
      isWanted: () => true,
    })
    const wanted = {
      id: 'i'.repeat(36),
      correlationId: 'c'.repeat(200),
      operation: 'chat' as const,
      stream: true,
      includeUsage: true,
      requestedModel: fields.model,
      model: fields.model,
      group: '*',
      receivedAt: Date.now(),
      timeoutMs: 600_000,
      caller: { ...anybody.caller, endUser: endUserOf(fields, {}) },
      ...routingFacts({ headers: {} } as IncomingMessage, fields, anybody, { ...config, router }),
      tags: tagsWith(tagsLike(`of the key ${most}`), fields, {}),
      sessionId: sessionOf(fields),
      storePrompts: false,
      allowedGroups: null,
      answerLimit: null,
    }
    const entry = { number: 1, claim: null, queuedAt: null }
    await offer(entry, wanted, new Uint8Array(0), null)
    const bytes = fake.stored[0]?.data.length ?? 0
    assert.ok(bytes > 8_000 && bytes < 40_000, `${JSON.stringify(unit)}: ${bytes} bytes`)
  }
})

test('the longest wait that a client may set is its deadline', () => {
  const wait = (value: string) => facts({}, { 'x-penstock-max-queue-wait': value }).maxQueueWaitMs
  assert.equal(wait('1e15'), config.requestTimeoutMs)
  assert.equal(wait('1e300'), config.requestTimeoutMs)
  assert.equal(wait('0.25'), 250)
  assert.equal(wait('1e-9'), 1)
  for (const odd of ['0', '-1', 'Infinity', 'soon']) assert.throws(() => wait(odd), /queue-wait/)
})

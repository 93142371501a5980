// The providers that translate into content blocks against their fakes: whole, streamed, tools there and
// back, images, JSON, every way in which an answer can go wrong, and a client that leaves.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { closeHttp } from '@penstock/workers/providers/http'
import { anthropicFailure, startFakeAnthropic } from './anthropic.ts'
import { bedrockFailure, startFakeBedrock } from './bedrock.ts'
import type { Fault } from './openai-behaviour.ts'
import { runProvider } from './run-provider.ts'
import type { FakeUpstream } from './upstream-server.ts'

after(closeHttp)

interface Upstream {
  name: string
  fake: FakeUpstream
  deployment: Partial<Deployment>
  /** A refusal in the upstream's own form. */
  refusal(status: number, message: string, headers?: Record<string, string>): Fault
  /** An error inside a stream that means a rate limit. */
  limit: Record<string, unknown>
}

const secret = 'wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY'

async function startAnthropic(): Promise<Upstream> {
  const fake = await startFakeAnthropic({ apiKey: 'sk-ant-api03-right' })
  after(() => fake.close())
  const types: Record<number, string> = { 400: 'invalid_request_error', 429: 'rate_limit_error' }
  return {
    name: 'anthropic',
    fake,
    deployment: {
      model: 'anthropic/claude-sonnet-4-5',
      apiBase: fake.url,
      apiKey: 'sk-ant-api03-right',
    },
    refusal: (status, message, headers) =>
      anthropicFailure(status, types[status] ?? 'api_error', message, headers),
    limit: { type: 'rate_limit_error', message: 'slow down' },
  }
}

async function startBedrock(): Promise<Upstream> {
  const fake = await startFakeBedrock({ accessKeyId: 'AKIDRIGHT' })
  after(() => fake.close())
  const names: Record<number, string> = { 400: 'ValidationException', 429: 'ThrottlingException' }
  return {
    name: 'bedrock',
    fake,
    deployment: {
      model: 'bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0',
      defaults: {
        aws_access_key_id: 'AKIDRIGHT',
        aws_secret_access_key: secret,
        aws_session_token: 'session',
        aws_region_name: 'eu-central-1',
        aws_bedrock_runtime_endpoint: fake.url,
      },
    },
    refusal: (status, message, headers) =>
      bedrockFailure(status, names[status] ?? 'InternalServerException', message, headers),
    limit: { name: 'throttlingException', message: 'slow down' },
  }
}

const upstreams = [await startAnthropic(), await startBedrock()]

const messages: unknown[] = [{ role: 'user', content: 'one two three' }]

function run(upstream: Upstream, body = {}, options: Parameters<typeof runProvider>[2] = {}) {
  return runProvider(upstream.deployment, { messages, ...body }, options)
}

const parameters = { type: 'object', properties: { port: { type: 'string' } } }
const tools = [{ type: 'function', function: { name: 'get_tide', parameters } }]
const toolCalls = [
  { name: 'get_tide', arguments: { port: 'Saint-Malo — 水' } },
  { name: 'get_tide', arguments: {} },
]

for (const upstream of upstreams) {
  const { name, fake, refusal } = upstream

  test(`${name}: an answer is the same whole and streamed, however the stream is cut`, async () => {
    fake.setBehaviour({ reasoning: 2, content: ['héé', ' 😊', ' ok'], cachedTokens: 1 })
    const whole = await run(upstream)
    assert.equal(whole.message.content, 'héé 😊 ok')
    assert.equal(whole.message.reasoning_content, 'think0 think1')
    assert.equal(whole.message.thinking_blocks?.length, 1)
    const { promptTokens, cachedPromptTokens } = whole.result?.usage ?? {}
    assert.deepEqual([promptTokens, cachedPromptTokens, whole.finish], [3, 1, 'stop'])
    for (const chunking of ['event', 'byte', 'events', 'mid-character'] as const) {
      fake.setBehaviour({
        reasoning: 2,
        content: ['héé', ' 😊', ' ok'],
        cachedTokens: 1,
        chunking,
      })
      const streamed = await run(upstream, {}, { stream: true })
      assert.deepEqual([streamed.message, streamed.finish], [whole.message, whole.finish], chunking)
      assert.deepEqual(streamed.result?.usage, whole.result?.usage)
    }
  })

  test(`${name}: a limit ends the answer early, and no usage is null`, async () => {
    fake.setBehaviour({ usage: false })
    for (const stream of [false, true]) {
      const { message, finish, result } = await run(upstream, { max_tokens: 2 }, { stream })
      assert.deepEqual([message.content, finish, result?.usage], ['tok0 tok1', 'length', null])
    }
  })

  test(`${name}: tools there and back, with the thinking that led to them`, async () => {
    for (const stream of [false, true]) {
      fake.setBehaviour({ reasoning: 1, toolCalls, chunking: stream ? 'byte' : 'event' })
      const first = await run(upstream, { tools }, { stream })
      assert.deepEqual([first.error, first.finish], [null, 'tool_calls'])
      const calls = first.message.tool_calls ?? []
      assert.deepEqual(
        calls.map((call) => JSON.parse(call.function.arguments ?? '')),
        toolCalls.map((call) => call.arguments),
      )
      fake.setBehaviour({})
      const results = calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'high' }))
      // Without its tools, as clients send a last request.
      const all = [...messages, first.message, ...results]
      const second = await run(upstream, { messages: all }, { stream })
      assert.deepEqual([second.error, second.message.content], [null, 'tok0 tok1 tok2 tok3 tok4'])
      const sent = JSON.stringify(fake.calls.at(-1)?.body)
      assert.match(sent, /"(?:thinking|text)":"think0","signature":"/)
    }
  })

  test(`${name}: an image goes along, a JSON answer comes`, async () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }
    fake.setBehaviour({ content: ['{"depth"', ':12}'] })
    const schema = { ...parameters, additionalProperties: false }
    for (const format of [
      { type: 'json_schema', json_schema: { name: 'tide', schema } },
      { type: 'json_object' },
    ]) {
      for (const stream of [false, true]) {
        const body = {
          messages: [{ role: 'user', content: [image] }],
          response_format: format,
        }
        const { message, finish, error } = await run(upstream, body, { stream })
        assert.equal(error, null)
        assert.deepEqual([JSON.parse(message.content ?? ''), finish], [{ depth: 12 }, 'stop'])
      }
    }
    assert.match(JSON.stringify(fake.calls.at(-1)?.body.messages), /iVBORw0KGgo=/)
  })

  test(`${name}: each fault of an upstream is its own error`, async () => {
    const midway = { afterTokens: 3 }
    const cases: [Fault, string, string][] = [
      [{ kind: 'destroy', ...midway }, 'upstream_cut_off', 'upstream_cut_off'],
      [{ kind: 'no-end', ...midway }, 'upstream_cut_off', 'upstream_invalid_response'],
      [
        { kind: 'garbage-event', ...midway },
        'upstream_invalid_response',
        'upstream_invalid_response',
      ],
      [
        { kind: 'error-event', error: upstream.limit, ...midway },
        'upstream_rate_limited',
        'upstream_invalid_response',
      ],
      [{ kind: 'html' }, 'upstream_invalid_response', 'upstream_invalid_response'],
      [refusal(400, 'no such field'), 'upstream_bad_request', 'upstream_bad_request'],
      [
        refusal(400, 'prompt is too long: 210266 tokens > 200000 maximum'),
        'context_window_exceeded',
        'context_window_exceeded',
      ],
      [refusal(500, 'broken'), 'upstream_error', 'upstream_error'],
    ]
    for (const [fault, streamed, plain] of cases) {
      fake.setBehaviour({ fault })
      const stream = await run(upstream, {}, { stream: true })
      const whole = await run(upstream)
      assert.deepEqual([stream.error?.code, whole.error?.code], [streamed, plain], fault.kind)
      assert.equal(stream.message.content, 'afterTokens' in fault ? 'tok0 tok1 tok2' : '')
      assert.equal(stream.finish, null)
    }
    await fake.until(({ concurrent }) => concurrent === 0)
  })

  test(`${name}: a rate limit keeps its Retry-After and is tried once`, async () => {
    fake.setBehaviour({ fault: refusal(429, 'slow down', { 'retry-after': '2' }) })
    const before = fake.counts.started
    const { error } = await run(upstream)
    assert.deepEqual([error?.code, error?.info.retryAfterMs], ['upstream_rate_limited', 2_000])
    assert.equal(fake.counts.started, before + 1)
  })

  test(`${name}: wrong credentials are the gateway’s fault and not shown`, async () => {
    fake.setBehaviour({})
    const wrong = { ...upstream.deployment.defaults, aws_access_key_id: 'AKIDWRONG' }
    const deployment = { apiKey: 'sk-ant-api03-wrong', defaults: wrong }
    const { error } = await run(upstream, {}, { deployment })
    assert.equal(error?.code, 'upstream_auth_failed')
    const told = JSON.stringify(error.info)
    for (const hidden of ['api03-wrong', secret, 'session']) assert.ok(!told.includes(hidden))
  })

  test(`${name}: a client that leaves stops the upstream at once`, {
    timeout: 20_000,
  }, async () => {
    const left = new PenstockError('client_closed_request', 'left')
    for (const fault of [{ kind: 'hang' }, { kind: 'stall', afterTokens: 2 }] as const) {
      for (const stream of [true, false]) {
        fake.setBehaviour({ fault })
        const leaving = new AbortController()
        const before = fake.counts.aborted
        const running = run(upstream, {}, { stream, signal: leaving.signal })
        await fake.until(({ concurrent }) => concurrent === 1)
        leaving.abort(left)
        assert.equal((await running).error, left)
        await fake.until(({ aborted }) => aborted === before + 1)
      }
    }
  })

  test(`${name}: extra headers go along, other operations are refused`, async () => {
    fake.setBehaviour({})
    const deployment = { extraHeaders: { 'x-site': 'quay' } }
    assert.equal((await run(upstream, {}, { deployment })).error, null)
    assert.equal(fake.calls.at(-1)?.headers['x-site'], 'quay')
    const { error } = await run(upstream, {}, { operation: 'embedding' })
    assert.equal(error?.code, 'unsupported_parameter')
  })
}

const [, bedrock] = upstreams

test('bedrock: the call is signed for its region, and says nothing of its settings', async () => {
  assert.ok(bedrock)
  bedrock.fake.setBehaviour({})
  const model = 'bedrock/us-west-2/amazon.nova-pro-v1:0'
  await run(bedrock, {}, { deployment: { model } })
  const { path, headers, body } = bedrock.fake.calls.at(-1) ?? {}
  assert.equal(decodeURIComponent(path ?? ''), '/model/amazon.nova-pro-v1:0/converse')
  assert.match(headers?.authorization ?? '', /Credential=AKIDRIGHT\/\d{8}\/us-west-2\/bedrock\//)
  assert.equal(headers?.['x-amz-security-token'], 'session')
  assert.doesNotMatch(JSON.stringify(body), /aws_|session/)
})

test('bedrock: a Bedrock API key is a bearer token', async () => {
  assert.ok(bedrock)
  const defaults = { aws_region_name: 'us-east-1', aws_bedrock_runtime_endpoint: bedrock.fake.url }
  await run(bedrock, {}, { deployment: { apiKey: 'bedrock-key', defaults } })
  assert.equal(bedrock.fake.calls.at(-1)?.headers.authorization, 'Bearer bedrock-key')
})

test('bedrock: settings that cannot be acted on are told, not ignored', async () => {
  assert.ok(bedrock)
  const { aws_secret_access_key: _, ...half } = bedrock.deployment.defaults ?? {}
  const role = { ...bedrock.deployment.defaults, aws_role_name: 'arn:aws:iam::1:role/r' }
  for (const defaults of [half, role]) {
    const { error } = await run(bedrock, {}, { deployment: { defaults } })
    assert.equal(error?.code, 'upstream_auth_failed')
    assert.match(error.message, /aws_/)
  }
})

// Every dialect on every provider: 4 × 8 × 8 cells, each the same question in a client's own form, and
// the same meaning in its answer. What goes upstream is checked by the strictness of the fakes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { fakeText } from '../harness/answers.ts'
import { chat } from '../harness/matrix-chat.ts'
import {
  type Ask,
  type ClientForm,
  type Extra,
  link,
  type Meaning,
  pdf,
  png,
  serverTool,
  toolArguments,
  toolName,
  toolResults,
} from '../harness/matrix-meaning.ts'
import { messages } from '../harness/matrix-messages.ts'
import { ollamaChat } from '../harness/matrix-ollama.ts'
import { responses } from '../harness/matrix-responses.ts'
import { startUpstreams, type Upstream } from '../harness/matrix-upstreams.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { type Stack, startStack } from '../harness/stack.ts'

interface Cell {
  form: ClientForm
  upstream: Upstream
  ask(more?: Partial<Ask>): Promise<Meaning>
}

const forms = [chat, messages, responses, ollamaChat]
const unicode = { content: ['Ça', ' va', ' 水'] }

let servers: Servers
let stack: Stack
let upstreams: Upstream[]

before(async () => {
  ;[servers, upstreams] = await Promise.all([startServers(), startUpstreams()])
  // A rate limit closes its deployment for a while, so each cell has one of its own for it.
  const limited = forms.flatMap((form) => upstreams.map((upstream) => ({ form, upstream })))
  stack = await startStack({
    servers,
    config: {
      model_list: [
        ...upstreams.map(({ name, params }) => ({ model_name: name, litellm_params: params })),
        ...limited.map(({ form, upstream }) => ({
          model_name: limitedModel(form, upstream),
          litellm_params: upstream.params,
          model_info: { id: limitedModel(form, upstream) },
        })),
      ],
      litellm_settings: { num_retries: 0 },
      // The cells cut more answers off than a healthy deployment would.
      router_settings: { allowed_fails: 1_000 },
      general_settings: { master_key: 'sk-1234' },
    },
  })
})
after(async () => {
  await stack.close()
  await Promise.all([...upstreams.map(({ fake }) => fake.close()), servers.close()])
})

function limitedModel(form: ClientForm, upstream: Upstream): string {
  return `${upstream.name}.${form.name}`
}

function cellOf(form: ClientForm, upstream: Upstream): Cell {
  return {
    form,
    upstream,
    async ask(more = {}) {
      const asked = { model: upstream.name, stream: false, ...more }
      const answer = await stack.client.post(form.path, form.request(asked))
      assert.equal(answer.status, 200, answer.text)
      return asked.stream ? form.streamed(answer.text) : form.whole(answer.json)
    },
  }
}

async function answers({ form, upstream: { fake }, ask }: Cell, stream: boolean): Promise<void> {
  fake.setBehaviour({ ...unicode, chunking: 'mid-character' })
  assert.deepEqual(await ask({ stream }), {
    text: 'Ça va 水',
    calls: [],
    finish: form.finishes.stop,
    usage: { prompt: 3, completion: 3 },
    error: null,
  })
}

/** The model calls the tool twice at once, until it sees the results. */
async function callsTools({ form, upstream, ask }: Cell, stream: boolean): Promise<void> {
  const { fake, beside } = upstream
  const calls = toolArguments.map((given) => ({ name: toolName, arguments: given }))
  const isAnswered = (text: string) => toolResults.every((result) => text.includes(result))
  fake.setBehaviour(({ body }) =>
    isAnswered(JSON.stringify(body)) ? unicode : { content: beside, toolCalls: calls },
  )
  const { promptTokens, completionTokens } = fake.counts
  const asked = await ask({ stream, with: 'tools' })
  const called = asked.calls
  assert.deepEqual(asked, {
    text: beside.join(''),
    calls: calls.map((call, index) => ({ id: called[index]?.id, ...call })),
    finish: form.finishes.calls,
    usage: {
      prompt: fake.counts.promptTokens - promptTokens,
      completion: fake.counts.completionTokens - completionTokens,
    },
    error: null,
  })
  assert.equal(new Set(called.map(({ id }) => id)).size, called.length)
  const answer = await ask({ stream, with: 'tools', called })
  assert.deepEqual([answer.text, answer.finish], ['Ça va 水', form.finishes.stop])
}

async function sees({ upstream: { fake }, ask }: Cell, what: Extra): Promise<void> {
  fake.setBehaviour({})
  assert.equal((await ask({ with: what })).text, fakeText(5))
  const sent = JSON.stringify(fake.calls.at(-1)?.body)
  assert.ok(
    sent.includes({ image: png, link, document: pdf, 'server tool': serverTool }[what]),
    `not sent: ${what}`,
  )
}

async function answersJson({ form, upstream: { fake, json }, ask }: Cell): Promise<void> {
  fake.setBehaviour({ content: json })
  for (const stream of [false, true]) {
    const { text, finish, calls } = await ask({ stream, with: 'schema' })
    assert.deepEqual(JSON.parse(text), { answer: '42' })
    assert.deepEqual([finish, calls], [form.finishes.stop, []])
    assert.match(JSON.stringify(fake.calls.at(-1)?.body), /the final answer/)
  }
}

async function refusalTo(form: ClientForm, asked: Ask, status: number): Promise<string> {
  const answer = await stack.client.post(form.path, form.request(asked))
  assert.equal(answer.status, status, answer.text)
  return form.refusal(answer.json, status)
}

/** A rate limit, a request that is refused, and an answer that is cut off. */
async function fails({ form, upstream, ask }: Cell): Promise<void> {
  const { fake, limited, refused } = upstream
  const { started } = fake.counts
  fake.setBehaviour({ fault: limited })
  const model = limitedModel(form, upstream)
  const answer = await stack.client.post(form.path, form.request({ model, stream: false }))
  assert.equal(answer.status, limited.status, answer.text)
  assert.equal(answer.headers.get('retry-after'), '7')
  assert.match(form.refusal(answer.json, limited.status), /slow down|quota/)

  fake.setBehaviour({ fault: refused })
  for (const stream of [false, true]) {
    const message = await refusalTo(form, { model: upstream.name, stream }, refused.status)
    assert.match(message, /nonsense/)
  }

  fake.setBehaviour({ fault: { kind: 'destroy', afterTokens: 3 } })
  const { text, finish, error } = await ask({ stream: true })
  assert.deepEqual([text, finish], [fakeText(3), null])
  assert.ok(error, 'no error event')
  assert.equal(fake.counts.started, started + 4)
}

async function leaves({ form, upstream: { fake, name: model } }: Cell): Promise<void> {
  const { aborted, started } = fake.counts
  fake.setBehaviour({ fault: { kind: 'stall', afterTokens: 3 } })
  const stream = await stack.client.openText(form.path, form.request({ model, stream: true }))
  let seen = ''
  while (!seen.includes('tok2')) seen += (await stream.next()) ?? assert.fail(seen)
  stream.leave()
  await fake.until((counts) => counts.aborted === aborted + 1)

  fake.setBehaviour({ fault: { kind: 'hang' } })
  const leaving = new AbortController()
  const body = form.request({ model, stream: false })
  const answer = stack.client.post(form.path, body, { signal: leaving.signal })
  await fake.until((counts) => counts.started === started + 2)
  leaving.abort()
  await assert.rejects(answer, { name: 'AbortError' })
  await fake.until((counts) => counts.aborted === aborted + 2)
}

const cells: Record<string, (cell: Cell) => Promise<void>> = {
  plain: (cell) => answers(cell, false),
  stream: (cell) => answers(cell, true),
  tools: (cell) => callsTools(cell, false),
  'stream + tools': (cell) => callsTools(cell, true),
  image: (cell) => sees(cell, 'image'),
  'json schema': answersJson,
  error: fails,
  disconnect: leaves,
}

// None of the cells is impossible. Besides them, an upstream may have no form for what goes along.
const unread = /^Ollama does not take content of the type 'file'\.$/
const unfetched = /^Images must be sent as base64 in a data: URL, not as a link\.$/
const foreign = /^Only Anthropic's own models can do with the tool 'web_search_20250305'/
const impossible: { what: Extra; on(provider: string): boolean; reason: RegExp }[] = [
  { what: 'link', on: (it) => it === 'ollama_chat' || it === 'bedrock', reason: unfetched },
  { what: 'document', on: (it) => it === 'ollama_chat', reason: unread },
  { what: 'server tool', on: (it) => it !== 'anthropic', reason: foreign },
]

async function takes(cell: Cell, what: Extra): Promise<void> {
  const { form, upstream } = cell
  const { name: provider, fake } = upstream
  const found = impossible.find((one) => one.what === what && one.on(provider))
  if (found === undefined) return sees(cell, what)
  const { started } = fake.counts
  for (const stream of [false, true]) {
    const message = await refusalTo(form, { model: provider, stream, with: what }, 400)
    assert.match(message, found.reason)
  }
  assert.equal(fake.counts.started, started)
}

test('every dialect means the same on every provider', { timeout: 120_000 }, async (t) => {
  for (const upstream of upstreams) {
    for (const form of forms) {
      const cell = cellOf(form, upstream)
      const run = (kind: string, check: () => Promise<void>) =>
        t.test(`${form.name} on ${upstream.name}: ${kind}`, check)
      for (const [kind, check] of Object.entries(cells)) await run(kind, () => check(cell))
      for (const what of form.extras) await run(what, () => takes(cell, what))
    }
  }
})
